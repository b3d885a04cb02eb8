#pragma once

#include <arpa/inet.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "virtio_net_header.h"

// Where the fields lie in the headers that the offloads read and write. Load and store fields by copying, not
// through a pointer of another type: packets have any alignment.
namespace tuntap {

// IEEE 802.3, 802.1Q
constexpr size_t kEthernetHeaderLength = 14;
constexpr size_t kEthernetTypeOffset = 12;
constexpr size_t kVlanTagLength = 4;
constexpr size_t kMaxVlanTags = 2;
constexpr uint16_t kEtherTypeIpv4 = 0x0800;
constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr uint16_t kEtherTypeVlan = 0x8100;
constexpr uint16_t kEtherTypeServiceVlan = 0x88a8;
constexpr size_t kMaxLinkHeaderLength = kEthernetHeaderLength + kMaxVlanTags * kVlanTagLength;

// RFC 791 section 3.1
constexpr size_t kIpv4MinHeaderLength = 20;
constexpr size_t kIpv4LengthOffset = 2;
constexpr size_t kIpv4IdentificationOffset = 4;
constexpr size_t kIpv4FragmentOffset = 6;
constexpr size_t kIpv4TtlOffset = 8;
constexpr size_t kIpv4ProtocolOffset = 9;
constexpr size_t kIpv4ChecksumOffset = 10;
constexpr size_t kIpv4SourceOffset = 12;
constexpr size_t kIpv4DestinationOffset = 16;
constexpr uint8_t kIpv4OptionEnd = 0;
constexpr uint8_t kIpv4OptionNop = 1;
constexpr uint8_t kIpv4OptionLooseRoute = 131;
constexpr uint8_t kIpv4OptionStrictRoute = 137;
constexpr uint16_t kIpv4DontFragment = 0x4000;
constexpr uint16_t kIpv4MoreFragmentsAndOffset = 0x3fff;

// RFC 8200 section 3
constexpr size_t kIpv6HeaderLength = 40;
constexpr size_t kIpv6PayloadLengthOffset = 4;
constexpr size_t kIpv6NextHeaderOffset = 6;
constexpr size_t kIpv6HopLimitOffset = 7;
constexpr size_t kIpv6SourceOffset = 8;
constexpr size_t kIpv6DestinationOffset = 24;

// https://www.iana.org/assignments/ipv6-parameters, routing types
constexpr uint8_t kRouteSource = 0;
constexpr uint8_t kRouteHomeAddress = 2;
constexpr uint8_t kRouteRpl = 3;
constexpr uint8_t kRouteSegments = 4;

// https://www.iana.org/assignments/protocol-numbers
constexpr uint8_t kProtocolHopByHop = 0;
constexpr uint8_t kProtocolTcp = 6;
constexpr uint8_t kProtocolUdp = 17;
constexpr uint8_t kProtocolRouting = 43;
constexpr uint8_t kProtocolFragment = 44;
constexpr uint8_t kProtocolAuthentication = 51;
constexpr uint8_t kProtocolDestinationOptions = 60;

// RFC 9293 section 3.1
constexpr size_t kTcpMinHeaderLength = 20;
constexpr size_t kTcpMaxHeaderLength = 60;
constexpr size_t kTcpSequenceOffset = 4;
constexpr size_t kTcpAcknowledgmentOffset = 8;
constexpr size_t kTcpDataOffsetOffset = 12;
constexpr size_t kTcpFlagsOffset = 13;
constexpr size_t kTcpWindowOffset = 14;
constexpr size_t kTcpChecksumOffset = 16;
constexpr size_t kTcpUrgentOffset = 18;
constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpAck = 0x10;
constexpr uint8_t kTcpEce = 0x40;
constexpr uint8_t kTcpCwr = 0x80;

// RFC 768
constexpr size_t kUdpHeaderLength = 8;
constexpr size_t kUdpLengthOffset = 4;
constexpr size_t kUdpChecksumOffset = 6;

constexpr size_t kMaxIpPacketLength = 65535;

// A word as it lies in memory, for comparisons and sums.
template <typename Word>
inline Word LoadAsIs(const uint8_t* at) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

inline uint16_t Load16(const uint8_t* at) { return ntohs(LoadAsIs<uint16_t>(at)); }
inline uint32_t Load32(const uint8_t* at) { return ntohl(LoadAsIs<uint32_t>(at)); }

inline void StoreAsIs16(uint8_t* at, uint16_t word) { std::memcpy(at, &word, sizeof(word)); }
inline void Store16(uint8_t* at, uint16_t value) { StoreAsIs16(at, htons(value)); }
inline void Store32(uint8_t* at, uint32_t value) {
  value = htonl(value);
  std::memcpy(at, &value, sizeof(value));
}

// The length of what stands before the network header, and that header's EtherType, 0 for anything but IP.
// On Ethernet, the length 0 means that the frame is too short.
struct LinkHeader {
  size_t length;
  uint16_t ether_type;
};

inline LinkHeader ReadLinkHeader(const uint8_t* packet, size_t length, LinkLayer link) {
  if (link == LinkLayer::kIp) {
    if (length == 0) return {0, 0};
    const int version = packet[0] >> 4;
    const uint16_t ether_type = version == 4 ? kEtherTypeIpv4 : version == 6 ? kEtherTypeIpv6 : 0;
    return {0, ether_type};
  }
  size_t at = kEthernetTypeOffset;
  for (size_t tags = 0; at + 2 <= length; tags++, at += kVlanTagLength) {
    const uint16_t ether_type = Load16(packet + at);
    if (ether_type == kEtherTypeIpv4 || ether_type == kEtherTypeIpv6) return {at + 2, ether_type};
    if (tags == kMaxVlanTags || (ether_type != kEtherTypeVlan && ether_type != kEtherTypeServiceVlan)) {
      return {at + 2, 0};
    }
  }
  return {0, 0};
}

}  // namespace tuntap
