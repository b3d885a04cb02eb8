#pragma once

namespace tuntap {

// The fds of /dev/net/tun that this process has, in any thread. process.exit() ends no environment: what is
// left then is closed when the process ends.

// Returns false if the fd is there already.
[[nodiscard]] bool AddDeviceFd(int fd);

// Ways to close a FileDescriptor whose number was added.
void CloseDeviceFd(int fd);   // by CloseQueue()
void ForgetDeviceFd(int fd);  // leaves it open
}  // namespace tuntap
