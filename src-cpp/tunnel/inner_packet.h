#pragma once

#include "offload/packet_headers.h"
#include "tunnel/prefix_table.h"

namespace tuntap {

// The congestion field of the TOS or traffic class (RFC 3168).
constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kEcnCongested = 3;

// The IP packet that a tunnel carries. Reads fixed header fields; `length` 0 stands for anything else than an
// IP packet whose header and length fit the bytes given.
class InnerPacket {
 public:
  InnerPacket(uint8_t* bytes, size_t present) : bytes_(bytes) {
    if (present >= kIpv4MinHeaderLength && bytes[0] >> 4 == 4) {
      const size_t header = 4 * size_t{bytes[0] & 0x0fU};
      const size_t length = Load16(bytes + kIpv4LengthOffset);
      if (header >= kIpv4MinHeaderLength && header <= length && length <= present) length_ = length;
      ipv4_ = true;
    } else if (present >= kIpv6HeaderLength && bytes[0] >> 4 == 6) {
      const size_t length = kIpv6HeaderLength + Load16(bytes + kIpv6PayloadLengthOffset);
      if (length <= present) length_ = length;
    }
  }

  // How many bytes the packet has by its header; what follows is padding.
  size_t length() const { return length_; }
  bool ipv4() const { return ipv4_; }

  AddressBits Source() const { return Address(kIpv4SourceOffset, kIpv6SourceOffset); }
  AddressBits Destination() const { return Address(kIpv4DestinationOffset, kIpv6DestinationOffset); }

  uint8_t Ecn() const { return (ipv4_ ? bytes_[1] : bytes_[1] >> 4) & kEcnMask; }

  // Marks a packet whose transport understands it as congested (RFC 6040 section 4.2).
  void MarkCongested() {
    const uint8_t ecn = Ecn();
    if (ecn == 0 || ecn == kEcnCongested) return;
    if (ipv4_) {
      // The sum of the header, taken by 16 bits, changes by the change of this byte (RFC 1624).
      const uint32_t sum = (Load16(bytes_ + kIpv4ChecksumOffset) ^ 0xffffU) + kEcnCongested - ecn;
      Store16(bytes_ + kIpv4ChecksumOffset, static_cast<uint16_t>(~(sum + (sum >> 16))));
      bytes_[1] |= kEcnCongested;
    } else {
      bytes_[1] |= kEcnCongested << 4;
    }
  }

 private:
  AddressBits Address(size_t ipv4_offset, size_t ipv6_offset) const {
    return ipv4_ ? AddressBits::OfIpv4(bytes_ + ipv4_offset) : AddressBits::OfIpv6(bytes_ + ipv6_offset);
  }

  uint8_t* bytes_;
  size_t length_ = 0;
  bool ipv4_ = false;
};

// Prefixes of both families.
struct PrefixTable {
  PrefixTrie ipv4;
  PrefixTrie ipv6;

  uint32_t LookupSource(const InnerPacket& packet) const { return Of(packet).Lookup(packet.Source()); }
  uint32_t LookupDestination(const InnerPacket& packet) const {
    return Of(packet).Lookup(packet.Destination());
  }

 private:
  const PrefixTrie& Of(const InnerPacket& packet) const { return packet.ipv4() ? ipv4 : ipv6; }
};

}  // namespace tuntap
