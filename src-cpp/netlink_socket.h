#ifndef TUNTAP_NETLINK_SOCKET_H_
#define TUNTAP_NETLINK_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tuntap {

// Whole datagrams to and from the kernel over an AF_NETLINK socket; knows nothing of what they say.

// Asks the kernel for extended acks that do not echo the request, and for strict checking of dump requests;
// a kernel without them works all the same (linux/netlink.h).
void ConfigureNetlink(int fd);

[[nodiscard]] int SendNetlink(int fd, const uint8_t* bytes, size_t length);

// Waits up to `timeout_ms` for a datagram from the kernel and takes it whole, whatever its size. Returns 0
// or -errno: -ETIMEDOUT, -ENOBUFS after messages were lost.
[[nodiscard]] int ReceiveNetlink(int fd, int timeout_ms, std::vector<uint8_t>* datagram);

}  // namespace tuntap

#endif  // TUNTAP_NETLINK_SOCKET_H_
