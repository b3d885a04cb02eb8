#pragma once

#include "intercept/ip_packet.h"

namespace tuntap {

// The state of a packet's TCP checksum.
enum class ChecksumState : uint8_t {
  kComplete,
  // VIRTIO_NET_HDR_F_NEEDS_CSUM: the field holds the sum of the pseudo-header, not complemented. The kernel
  // adds the rest, so the ports are not in it.
  kPartial,
};

// How sums change when a packet gets other ends (RFC 1624): one's complement differences in memory order.
// The way back has the complements.
struct ChecksumDeltas {
  uint16_t addresses = 0;
  uint16_t ports = 0;

  ChecksumDeltas Reversed() const {
    return {static_cast<uint16_t>(~addresses), static_cast<uint16_t>(~ports)};
  }
};

// An address of 4 or 16 bytes, and a port as it lies in memory.
struct PacketEnd {
  const uint8_t* address;
  uint16_t port;
};

[[nodiscard]] ChecksumDeltas DeltasBetween(const PacketEnd& old_source, const PacketEnd& old_destination,
                                           const PacketEnd& source, const PacketEnd& destination,
                                           size_t address_length);

// Gives a TCP packet other ends. Both sums stay as right or wrong as they were.
void RewriteEnds(const IpPacket& packet, const PacketEnd& source, const PacketEnd& destination,
                 ChecksumDeltas deltas, ChecksumState state);

// Whether the checksum of a complete TCP or UDP packet is right.
[[nodiscard]] bool HasRightChecksum(const IpPacket& packet, uint8_t protocol);

// The sum of a pseudo-header, not complemented.
[[nodiscard]] uint16_t PseudoHeaderSum(const IpPacket& packet, uint8_t protocol);

}  // namespace tuntap
