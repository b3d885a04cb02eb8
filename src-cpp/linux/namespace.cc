#include "namespace.h"

// clang-format off
#include <sys/mount.h>  // before glibc 2.36 it can't be read behind linux/mount.h
// clang-format on

#include <fcntl.h>
#if __has_include(<linux/mount.h>)
#include <linux/mount.h>
#endif
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "file_descriptor.h"
#include "thread.h"

// Linux 5.2 brought these; headers may be older than the kernel.
#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef FSOPEN_CLOEXEC
#define FSOPEN_CLOEXEC 1
#define FSMOUNT_CLOEXEC 1
#define FSCONFIG_CMD_CREATE 6
#endif

namespace tuntap {
namespace {

int OrErrno(long result) { return result < 0 ? -errno : static_cast<int>(result); }

template <typename Operation>
int OnThread(Operation operation) {
  struct Task {
    Operation* operation;
    int result;
  } task{&operation, 0};
  pthread_t thread;
  const int error = StartThread(
      &thread,
      [](void* argument) -> void* {
        auto* t = static_cast<Task*>(argument);
        t->result = (*t->operation)();
        return nullptr;
      },
      &task);
  if (error != 0) return error;
  pthread_join(thread, nullptr);
  return task.result;
}

template <typename Operation>
int InNamespace(int namespace_fd, Operation operation) {
  if (namespace_fd < 0) return operation();
  return OnThread([&]() -> int {
    if (setns(namespace_fd, CLONE_NEWNET) != 0) return -errno;
    return operation();
  });
}

// A new file system that is mounted nowhere: the fd of its root, or -errno. The mount calls of Linux 5.2 have
// no wrappers before glibc 2.36.
int NewMount(const char* type) {
  FileDescriptor context(OrErrno(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
  if (!context.valid()) return context.Release();
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return -errno;
  return OrErrno(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0));
}

}  // namespace

int OpenIn(int namespace_fd, const std::string& path, int flags) {
  return InNamespace(namespace_fd, [&] { return OrErrno(open(path.c_str(), flags | O_CLOEXEC)); });
}

int SocketIn(int namespace_fd, int family, int type, int protocol) {
  return InNamespace(namespace_fd, [&] { return OrErrno(socket(family, type | SOCK_CLOEXEC, protocol)); });
}

int OpenSysfsIn(int namespace_fd) {
  return InNamespace(namespace_fd, [] { return NewMount("sysfs"); });
}

int OpenCharacterDevice(uint32_t major_number, uint32_t minor_number) {
  const FileDescriptor directory(NewMount("tmpfs"));
  if (!directory.valid()) return directory.get();
  const dev_t device = makedev(major_number, minor_number);
  if (mknodat(directory.get(), "device", S_IFCHR | 0600, device) != 0) return -errno;
  return OrErrno(openat(directory.get(), "device", O_RDWR | O_CLOEXEC));
}

int NewNetworkNamespace() {
  return OnThread([]() -> int {
    if (unshare(CLONE_NEWNET) != 0) return -errno;
    // /proc/self would be the main thread's.
    return OrErrno(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  });
}

int ShareMounts(const std::string& directory) {
  const char* path = directory.c_str();
  if (mount("", path, "none", MS_SHARED | MS_REC, nullptr) == 0) return 0;
  // EINVAL: not a mount point yet.
  if (errno != EINVAL) return -errno;
  if (mount(path, path, "none", MS_BIND | MS_REC, nullptr) != 0) return -errno;
  return mount("", path, "none", MS_SHARED | MS_REC, nullptr) == 0 ? 0 : -errno;
}

int BindNamespace(int namespace_fd, const std::string& path) {
  const std::string source = "/proc/self/fd/" + std::to_string(namespace_fd);
  return mount(source.c_str(), path.c_str(), "none", MS_BIND, nullptr) == 0 ? 0 : -errno;
}

int UnbindNamespace(const std::string& path) {
  // The name may be a link to another namespace's name, which stays.
  return umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ? 0 : -errno;
}

}  // namespace tuntap
