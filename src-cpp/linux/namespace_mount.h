#ifndef TUNTAP_NAMESPACE_MOUNT_H_
#define TUNTAP_NAMESPACE_MOUNT_H_

#include <string>

namespace tuntap {

// The mounts that give a namespace a name, as ip-netns(8) makes them. Each returns 0 or -errno.

// Makes `directory` a mount point of its own whose mounts other mount namespaces see.
[[nodiscard]] int ShareMounts(const std::string& directory);
// Binds the namespace of `namespace_fd` onto the file `path`.
[[nodiscard]] int BindNamespace(int namespace_fd, const std::string& path);
[[nodiscard]] int UnbindNamespace(const std::string& path);

}  // namespace tuntap

#endif  // TUNTAP_NAMESPACE_MOUNT_H_
