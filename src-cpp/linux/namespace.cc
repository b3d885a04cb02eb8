#include "namespace.h"

// clang-format off
#include <sys/mount.h>  // before glibc 2.36 it can't be read behind linux/mount.h
// clang-format on

#include <fcntl.h>
#if __has_include(<linux/mount.h>)
#include <linux/mount.h>
#endif
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "file_descriptor.h"
#include "namespace_visitor.h"
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

// What a thread or a child process runs.
template <typename Operation>
struct Task {
  Operation* operation;
  int result;

  static void* Run(void* argument) {
    auto* task = static_cast<Task*>(argument);
    task->result = (*task->operation)();
    return nullptr;
  }
};

template <typename Operation>
int OnThread(Operation operation) {
  Task<Operation> task{&operation, 0};
  pthread_t thread;
  const int error = StartThread(&thread, Task<Operation>::Run, &task);
  if (error != 0) return error;
  pthread_join(thread, nullptr);
  return task.result;
}

// Runs the operation in a child process that shares the memory, so that it returns its result, and the fds,
// so that what it opens stays. This thread waits meanwhile, others go on: so the operation makes system calls
// only, and allocates nothing. The child has credentials of its own; CLONE_FS would forbid it to enter a user
// namespace. It ends without a signal, and handles none. `flags` are further ones of clone(2).
template <typename Operation>
int InChild(int flags, Operation operation) {
  Task<Operation> task{&operation, -EIO};
  constexpr size_t kStackSize = 64 << 10;
  const std::unique_ptr<uint8_t[]> stack(new (std::nothrow) uint8_t[kStackSize]);
  if (stack == nullptr) return -ENOMEM;
  const BlockedSignals blocked;
  const pid_t child =
      clone([](void* argument) -> int { return Task<Operation>::Run(argument) == nullptr ? 0 : 1; },
            stack.get() + kStackSize, CLONE_VM | CLONE_VFORK | CLONE_FILES | flags, &task);
  if (child < 0) {
    task.result = -errno;
  } else {
    waitpid(child, nullptr, __WALL);
  }
  return task.result;
}

std::atomic<bool> has_sent_children{false};

// For a namespace that a thread may not enter.
template <typename Operation>
int InChildInside(int namespace_fd, Operation operation) {
  const FileDescriptor owner(OrErrno(ioctl(namespace_fd, NS_GET_USERNS)));
  if (!owner.valid()) return -EPERM;
  has_sent_children = true;
  return InChild(0, [&]() -> int {
    if (setns(owner.get(), CLONE_NEWUSER) != 0 || setns(namespace_fd, CLONE_NEWNET) != 0) return -EPERM;
    return operation();
  });
}

// The operation leaves the thread as it was.
template <typename Operation>
int InNamespace(int namespace_fd, Operation operation) {
  if (namespace_fd < 0) return operation();
  Task<Operation> task{&operation, 0};
  const int refused = NamespaceVisitor::Shared().Visit(namespace_fd, Task<Operation>::Run, &task);
  if (refused == 0) return task.result;
  return refused == -EPERM ? InChildInside(namespace_fd, operation) : refused;
}

int WriteFile(const char* path, const char* text) {
  const FileDescriptor file(OrErrno(open(path, O_WRONLY | O_CLOEXEC)));
  if (!file.valid()) return file.get();
  return write(file.get(), text, strlen(text)) < 0 ? -errno : 0;
}

// Lets a process write its own files in /proc that are root's otherwise: after setuid(2), or if its program
// has file capabilities (proc(5)). It holds for the memory, which a child shares with the process.
class Dumpable {
 public:
  Dumpable() : before_(prctl(PR_GET_DUMPABLE)) {
    if (before_ != 1) (void)prctl(PR_SET_DUMPABLE, 1);
  }
  ~Dumpable() {
    // What was 2, by fs.suid_dumpable, can't be again: 0 forbids more.
    if (before_ != 1) (void)prctl(PR_SET_DUMPABLE, 0);
  }

  Dumpable(const Dumpable&) = delete;
  Dumpable& operator=(const Dumpable&) = delete;

 private:
  int before_;
};

// The user namespace in which this process makes its network namespaces without root: an fd that stays open,
// or -errno. Whoever made it is root there, and has all capabilities over it from outside, too.
int TheUserNamespace() {
  static std::mutex mutex;
  static int made = -1;
  const std::lock_guard<std::mutex> lock(mutex);
  if (made >= 0) return made;
  const std::string uids = "0 " + std::to_string(geteuid()) + " 1";
  const std::string gids = "0 " + std::to_string(getegid()) + " 1";
  const int result = InChild(CLONE_NEWUSER, [&]() -> int {
    const Dumpable dumpable;
    // user_namespaces(7): without this, a process that lacks CAP_SETGID may not map its group.
    const int denied = WriteFile("/proc/self/setgroups", "deny");
    if (denied < 0) return denied;
    int error = WriteFile("/proc/self/uid_map", uids.c_str());
    if (error == 0) error = WriteFile("/proc/self/gid_map", gids.c_str());
    if (error != 0) return error;
    return OrErrno(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  });
  if (result >= 0) made = result;
  return result;
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

bool SendsChildren() { return has_sent_children; }

int SocketIn(int namespace_fd, int family, int type, int protocol) {
  return InNamespace(namespace_fd, [&] { return OrErrno(socket(family, type | SOCK_CLOEXEC, protocol)); });
}

int OpenSysfsIn(int namespace_fd) {
  const auto open = [] {
    const int sysfs = NewMount("sysfs");
    // Only who owns the mount namespace may mount: in a user namespace, that is a new one.
    return sysfs == -EPERM && unshare(CLONE_NEWNS) == 0 ? NewMount("sysfs") : sysfs;
  };
  // On a thread that ends with it, since it may be in a new mount namespace.
  bool entered = false;
  const int result = OnThread([&]() -> int {
    entered = namespace_fd < 0 || setns(namespace_fd, CLONE_NEWNET) == 0;
    return entered ? open() : -errno;
  });
  return entered || result != -EPERM ? result : InChildInside(namespace_fd, open);
}

int OpenCharacterDevice(uint32_t major_number, uint32_t minor_number) {
  const FileDescriptor directory(NewMount("tmpfs"));
  if (!directory.valid()) return directory.get();
  const dev_t device = makedev(major_number, minor_number);
  if (mknodat(directory.get(), "device", S_IFCHR | 0600, device) != 0) return -errno;
  return OrErrno(openat(directory.get(), "device", O_RDWR | O_CLOEXEC));
}

int NewNetworkNamespace(bool rootless) {
  const auto make = []() -> int {
    if (unshare(CLONE_NEWNET) != 0) return -errno;
    // /proc/self would be the main thread's.
    return OrErrno(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  };
  if (!rootless) return OnThread(make);
  const int user_namespace = TheUserNamespace();
  if (user_namespace < 0) return user_namespace;
  return InChild(0, [&] { return setns(user_namespace, CLONE_NEWUSER) != 0 ? -errno : make(); });
}

bool IsRootless(int namespace_fd) {
  const FileDescriptor owner(OrErrno(ioctl(namespace_fd, NS_GET_USERNS)));
  struct stat theirs;
  struct stat ours;
  return owner.valid() && fstat(owner.get(), &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 &&
         theirs.st_ino != ours.st_ino;
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
