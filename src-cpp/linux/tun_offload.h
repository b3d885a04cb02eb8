#pragma once

#include <string>

namespace tuntap {

// What all queues of a TUN or TAP device share, and what it keeps when it is persistent.

// The offloads that are on at the link `name` in the namespace of `socket`, of any kind: bits of TUN_F_*, or
// -errno. TUNSETOFFLOAD has no counterpart that reads.
[[nodiscard]] int GetOffload(int socket, const std::string& name);

// How many queues the device of `fd` has, those of other programs included, or -errno.
[[nodiscard]] int CountQueues(int fd);

// Closes a queue. Where it is the last of a persistent device, the next program finds the device as a new one
// is: without offloads and with the usual virtio_net_hdr.
void CloseQueue(int fd);

}  // namespace tuntap
