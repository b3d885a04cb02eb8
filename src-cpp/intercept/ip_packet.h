#pragma once

#include "offload/packet_headers.h"

namespace tuntap {

constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolIcmpv6 = 58;

// RFC 792, RFC 4443: what every ICMP message begins with
constexpr size_t kIcmpHeaderLength = 8;
constexpr size_t kIcmpChecksumOffset = 2;

constexpr uint8_t kTcpSyn = 0x02;
constexpr uint8_t kTcpRst = 0x04;

// What an intercepted packet is.
enum class PacketSort : uint8_t { kMalformed, kTcp, kUdp, kIcmp, kFragment, kOther };

// The headers of an IP packet, read once. `length` never exceeds the bytes that are there, and a TCP packet
// has its whole TCP header, a UDP packet its whole UDP header, an ICMP message its first 8 bytes.
struct IpPacket {
  uint8_t* bytes = nullptr;
  size_t length = 0;     // by the IP header
  size_t transport = 0;  // where the header above IP begins
  size_t payload = 0;    // where the payload of TCP or UDP begins
  PacketSort sort = PacketSort::kMalformed;
  bool ipv4 = false;

  size_t address_length() const { return ipv4 ? 4 : 16; }
  uint8_t* source() const { return bytes + (ipv4 ? kIpv4SourceOffset : kIpv6SourceOffset); }
  uint8_t* destination() const { return bytes + (ipv4 ? kIpv4DestinationOffset : kIpv6DestinationOffset); }
  uint8_t* header() const { return bytes + transport; }
  uint8_t tcp_flags() const { return header()[kTcpFlagsOffset]; }
  uint32_t tcp_sequence() const { return Load32(header() + kTcpSequenceOffset); }
  uint32_t tcp_acknowledgment() const { return Load32(header() + kTcpAcknowledgmentOffset); }
  // How many sequence numbers the segment takes.
  uint32_t tcp_span() const {
    const uint8_t flags = tcp_flags();
    return static_cast<uint32_t>(length - payload) + ((flags & kTcpSyn) != 0) + ((flags & kTcpFin) != 0);
  }
};

// Reads what lies at `bytes`, of which `present` bytes may be read.
[[nodiscard]] IpPacket ReadIpPacket(uint8_t* bytes, size_t present);

// Whether both addresses can be one host's: IsHost() of ip_headers.h.
[[nodiscard]] bool IsBetweenHosts(const IpPacket& packet);

}  // namespace tuntap
