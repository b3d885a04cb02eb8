#pragma once

#include <cstdint>
#include <string>

namespace tuntap {

// Operations that open something inside another network namespace. Another thread, mostly the
// NamespaceVisitor's, enters the namespace, opens, and comes back or ends: a JavaScript thread never changes
// namespace (threads started meanwhile would inherit it), and neither does libuv's pool (dns and fs share
// it). A thread may not enter a user namespace, so where the network namespace belongs to one, a child
// process does the same, with this process's memory and fds. What was opened stays in its namespace.
// `namespace_fd` is an nsfs fd, or -1 for the namespace of the calling thread.
//
// Each returns a new fd with O_CLOEXEC set, or -errno.

[[nodiscard]] int OpenIn(int namespace_fd, const std::string& path, int flags);
[[nodiscard]] int SocketIn(int namespace_fd, int family, int type, int protocol);

// Whether this process has needed such a child, which takes several times as long as the thread.
[[nodiscard]] bool SendsChildren();

// A sysfs whose /class/net shows the devices of the namespace, as a directory fd that is mounted nowhere.
[[nodiscard]] int OpenSysfsIn(int namespace_fd);

// Opens a character device by its numbers, through a node in a file system that nobody else sees. Needs
// CAP_SYS_ADMIN and CAP_MKNOD.
[[nodiscard]] int OpenCharacterDevice(uint32_t major_number, uint32_t minor_number);

// A new, empty network namespace; it lives as long as something holds it, this fd for one. It belongs to the
// process's user namespace, or with `rootless` to another one, in which this user is root. The process makes
// one such user namespace and keeps it, so that veth links between its network namespaces are permitted.
[[nodiscard]] int NewNetworkNamespace(bool rootless);

// Whether a network namespace belongs to another user namespace than the process's.
[[nodiscard]] bool IsRootless(int namespace_fd);

// The mounts that give a namespace a name, as ip-netns(8) makes them. Each returns 0 or -errno.

// Makes `directory` a mount point of its own whose mounts other mount namespaces see.
[[nodiscard]] int ShareMounts(const std::string& directory);
// Binds the namespace of `namespace_fd` onto the file `path`.
[[nodiscard]] int BindNamespace(int namespace_fd, const std::string& path);
[[nodiscard]] int UnbindNamespace(const std::string& path);

}  // namespace tuntap
