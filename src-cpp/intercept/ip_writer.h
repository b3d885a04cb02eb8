#pragma once

#include "offload/header_checksums.h"

namespace tuntap {

// What an IP header without options tells.
struct IpHeaderFields {
  bool ipv6;
  uint8_t protocol;
  const uint8_t* source;  // 4 or 16 bytes
  const uint8_t* destination;
  size_t payload_length;
  uint8_t tos = 0;              // or traffic class
  uint16_t identification = 0;  // of IPv4, as the next one
  bool dont_fragment = false;
};

constexpr size_t IpHeaderLength(bool ipv6) { return ipv6 ? kIpv6HeaderLength : kIpv4MinHeaderLength; }

// Writes IpHeaderLength() bytes.
inline void WriteIpHeader(uint8_t* ip, const IpHeaderFields& fields) {
  constexpr uint8_t kTtl = 64;
  if (fields.ipv6) {
    Store32(ip, 0x60000000 | uint32_t{fields.tos} << 20);
    Store16(ip + kIpv6PayloadLengthOffset, static_cast<uint16_t>(fields.payload_length));
    ip[kIpv6NextHeaderOffset] = fields.protocol;
    ip[kIpv6HopLimitOffset] = kTtl;
    std::memcpy(ip + kIpv6SourceOffset, fields.source, 16);
    std::memcpy(ip + kIpv6DestinationOffset, fields.destination, 16);
    return;
  }
  ip[0] = 0x45;
  ip[1] = fields.tos;
  Store16(ip + kIpv4LengthOffset, static_cast<uint16_t>(kIpv4MinHeaderLength + fields.payload_length));
  Store16(ip + kIpv4IdentificationOffset, fields.identification);
  Store16(ip + kIpv4FragmentOffset, fields.dont_fragment ? kIpv4DontFragment : 0);
  ip[kIpv4TtlOffset] = kTtl;
  ip[kIpv4ProtocolOffset] = fields.protocol;
  std::memcpy(ip + kIpv4SourceOffset, fields.source, 4);
  std::memcpy(ip + kIpv4DestinationOffset, fields.destination, 4);
  SetIpv4Checksum(ip, kIpv4MinHeaderLength);
}

}  // namespace tuntap
