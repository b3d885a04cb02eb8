#pragma once

#include <netinet/udp.h>
#include <sys/socket.h>

#include <cstring>

#include "batch/layout.h"

// glibc 2.28's headers lack them; headers may be older than the kernel.
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace tuntap {

// The address of a DatagramEntry as a socket of `socket_family` takes it, and back: IPv4 is mapped for an
// IPv6 socket.
[[nodiscard]] socklen_t ToSocketAddress(int socket_family, const uint8_t* from, sockaddr_storage* to);
void FromSocketAddress(const sockaddr_storage& from, uint8_t* to);

// The address family that a datagram to this entry has: that of its remote, or of the connected peer.
[[nodiscard]] int FamilyOf(const DatagramEntry& entry, int peer_family);

// Control messages of one datagram to send: UDP_SEGMENT, IP_TOS or IPV6_TCLASS, IP_PKTINFO or IPV6_PKTINFO.
constexpr size_t kControlSize = 128;

// Points `message` at `address`, filled with the entry's remote as a socket of `socket_family` takes it, and
// at `control`. Without a remote the datagram goes to the connected peer, of `peer_family`. `segment_size` 0:
// no UDP_SEGMENT. The kernel refuses what does not fit the socket.
void PrepareSend(int socket_family, int peer_family, const DatagramEntry& entry, uint16_t segment_size,
                 sockaddr_storage* address, uint8_t* control, msghdr* message);

// What the kernel said of a datagram that was received.
struct ReceivedInfo {
  DatagramEntry entry;
  size_t segment_size;  // of a UDP_GRO super-packet; 0: one datagram
};

// Reads a received message's address, flags and control messages. `drops` changes only if the kernel tells.
void ParseReceived(const msghdr& message, ReceivedInfo* info, uint32_t* drops);

// Reads the data of a control message; returns false if it is too short.
template <typename T>
[[nodiscard]] bool TakeControl(const cmsghdr* control, T* value) {
  if (control->cmsg_len < CMSG_LEN(sizeof(T))) return false;
  memcpy(value, CMSG_DATA(control), sizeof(T));
  return true;
}

}  // namespace tuntap
