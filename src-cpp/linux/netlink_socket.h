#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tuntap {

// Whole datagrams to and from the kernel over an AF_NETLINK socket; knows nothing of what they say.

// Asks the kernel for extended acks that do not echo the request, and for strict checking of dump requests;
// a kernel without them works all the same (linux/netlink.h).
void ConfigureNetlink(int fd);

// Joins the multicast groups, and with `receive_buffer` above 0 asks for that many bytes of queue, past
// net.core.rmem_max where CAP_NET_ADMIN allows it. Returns 0 or -errno.
[[nodiscard]] int JoinNetlinkGroups(int fd, const std::vector<uint32_t>& groups, int receive_buffer);

// Datagrams one after the other.
struct Datagrams {
  std::vector<uint8_t> bytes;
  std::vector<size_t> ends;  // of each datagram in `bytes`
};

[[nodiscard]] int SendNetlink(int fd, const uint8_t* bytes, size_t length);

// Waits up to `timeout_ms` for a datagram from the kernel, then takes all that are there, each whole whatever
// its size, about a megabyte at most. The kernel carries a request out before send(2) returns and makes each
// further part of a dump when the part before it is taken, so one call gets a whole answer, but for a dump
// that is larger. Returns 0 or -errno: -ETIMEDOUT, -ENOBUFS after messages were lost.
[[nodiscard]] int ReceiveNetlink(int fd, int timeout_ms, Datagrams* datagrams);

}  // namespace tuntap
