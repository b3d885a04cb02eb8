#ifndef TUNTAP_DATAGRAM_H_
#define TUNTAP_DATAGRAM_H_

#include <sys/socket.h>
#include <time.h>  // linux/errqueue.h needs it and leaves it out

#include <cstddef>
#include <cstdint>

namespace tuntap {

// What accompanies a datagram: an entry of a table that lies beside a batch. lib/tunnel/datagram-table.ts has
// the same layout. JavaScript writes it at any time, so nothing read from it is trusted. An IPv4 peer of a
// dual-stack socket has AF_INET here; the mapped form of RFC 4291, 2.5.5.2, is the socket's own matter.
struct DatagramSlot {
  uint8_t remote[28];     // sockaddr_in or sockaddr_in6; family 0: none
  uint32_t interface;     // index of the link that it came by; when sending, 0: any
  uint8_t local[16];      // its address on this host: 4 or 16 bytes
  uint16_t local_family;  // AF_INET, AF_INET6, or 0: not known; when sending, the kernel's choice
  uint8_t tos;            // TOS or traffic class, whose low two bits are ECN (RFC 3168)
  uint8_t flags;
  uint32_t reserved[3];
};
static_assert(sizeof(DatagramSlot) == 64);

enum DatagramFlags : uint8_t { kHasTos = 1, kTruncated = 2 };

// Where a write goes: one slot is for all entries, of several slots[i] is for entry i. Without slots: the
// connected peer.
struct Remotes {
  const DatagramSlot* slots = nullptr;
  size_t count = 0;
};

// The address of a slot as a socket of `socket_family` takes it, and back: IPv4 is mapped for an IPv6 socket.
[[nodiscard]] socklen_t ToSocketAddress(int socket_family, const uint8_t* from, sockaddr_storage* to);
void FromSocketAddress(const sockaddr_storage& from, uint8_t* to);

// Control messages of one datagram to send: UDP_SEGMENT, IP_TOS or IPV6_TCLASS, IP_PKTINFO or IPV6_PKTINFO.
constexpr size_t kControlSize = 128;

// Points `message` at `address`, filled with the slot's remote as a socket of `socket_family` takes it, and
// at `control`. `segment_size` 0: no UDP_SEGMENT. What does not fit the socket is left for the kernel to
// refuse.
void PrepareSend(int socket_family, const DatagramSlot& slot, uint16_t segment_size,
                 sockaddr_storage* address, uint8_t* control, msghdr* message);

// What the kernel said of a datagram that was received.
struct ReceivedInfo {
  DatagramSlot slot;
  size_t segment_size;  // of a UDP_GRO super-packet; 0: one datagram
};

// Reads a received message's address, flags and control messages. `drops` changes only where the kernel
// tells.
void ParseReceived(const msghdr& message, ReceivedInfo* info, uint32_t* drops);

// SO_EE_ORIGIN_LOCAL: the kernel refused a datagram when it was sent.
constexpr uint8_t kOriginLocal = 1;

// An error that came for a datagram sent earlier (ip(7), IP_RECVERR). lib/tunnel/icmp-error.ts has the same.
struct SocketErrorRecord {
  uint8_t remote[28];    // whom the datagram was for
  uint8_t offender[28];  // who reported it; family 0: not known
  int32_t error;         // -errno
  uint32_t info;         // the path MTU for EMSGSIZE
  uint8_t origin;        // SO_EE_ORIGIN_…; 0: the socket's pending error alone
  uint8_t type;          // of the ICMP message
  uint8_t code;
  uint8_t reserved[5];
};
static_assert(sizeof(SocketErrorRecord) == 72);

// Whether an ICMP message can have been the cause (net/ipv4/icmp.c, net/ipv6/icmp.c), so that the call that
// fails with it may not be to blame. The error queue tells, unless the kernel had no memory for the record.
[[nodiscard]] bool IsIcmpError(int error);

// Takes one error off the error queue. Returns 0, or -errno: -EAGAIN where there is none.
[[nodiscard]] int ReceiveError(int fd, SocketErrorRecord* record);

}  // namespace tuntap

#endif  // TUNTAP_DATAGRAM_H_
