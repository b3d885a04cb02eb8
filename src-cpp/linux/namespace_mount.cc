#include "namespace_mount.h"

#include <sys/mount.h>

#include <cerrno>

namespace tuntap {

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
