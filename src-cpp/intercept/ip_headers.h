#pragma once

#include "offload/checksum.h"
#include "offload/packet_headers.h"

namespace tuntap {

// Where the parts of an IP packet are, checked against its length. The packet must stay as it is.
struct IpHeaders {
  const uint8_t* ip;
  bool ipv6;
  bool fragment;           // of a larger packet; then `transport` is where the fragment's data begins
  bool more;               // another fragment follows this one
  uint8_t protocol;        // of what begins at `transport`
  uint8_t tos;             // or traffic class
  size_t fragment_at;      // where the data belongs in the whole packet
  size_t next_header_at;   // IPv6: where the protocol that a fragment header follows is named
  size_t fragment_header;  // IPv6: where the fragment header begins; 0: there is none
  size_t transport;
  size_t end;  // of the packet by its own length, which padding may follow

  const uint8_t* source() const { return ip + (ipv6 ? kIpv6SourceOffset : kIpv4SourceOffset); }
  const uint8_t* destination() const { return ip + (ipv6 ? kIpv6DestinationOffset : kIpv4DestinationOffset); }
  size_t address_length() const { return ipv6 ? 16 : 4; }

  // Reads the headers of the packet in `length` bytes. Returns false if they contradict each other, if an
  // IPv4 header's checksum is wrong, or if the packet's source route goes on.
  [[nodiscard]] bool Read(const uint8_t* packet, size_t length) {
    *this = {};
    ip = packet;
    if (length < kIpv4MinHeaderLength) return false;
    return packet[0] >> 4 == 4 ? ReadIpv4(length) : packet[0] >> 4 == 6 && ReadIpv6(length);
  }

 private:
  bool ReadIpv4(size_t length) {
    transport = size_t{ip[0] & 0x0fu} * 4;
    end = Load16(ip + kIpv4LengthOffset);
    if (transport < kIpv4MinHeaderLength || transport > end || end > length) return false;
    if (ChecksumPartial(ip, transport) != 0xffff) return false;
    if (transport > kIpv4MinHeaderLength && !RouteEnds()) return false;
    const uint16_t place = Load16(ip + kIpv4FragmentOffset);
    fragment = (place & kIpv4MoreFragmentsAndOffset) != 0;
    more = (place & 0x2000) != 0;
    fragment_at = size_t{place & 0x1fffu} * 8;
    protocol = ip[kIpv4ProtocolOffset];
    tos = ip[1];
    return true;
  }

  // Whether the IPv4 options have no source route that goes on (RFC 791 section 3.1).
  bool RouteEnds() const {
    for (size_t at = kIpv4MinHeaderLength; at < transport && ip[at] != kIpv4OptionEnd;) {
      if (ip[at] == kIpv4OptionNop) {
        at++;
        continue;
      }
      if (transport - at < 2 || ip[at + 1] < 2 || ip[at + 1] > transport - at) return false;
      const bool route = ip[at] == kIpv4OptionLooseRoute || ip[at] == kIpv4OptionStrictRoute;
      if (route && (ip[at + 1] < 3 || ip[at + 2] <= ip[at + 1])) return false;
      at += ip[at + 1];
    }
    return true;
  }

  bool ReadIpv6(size_t length) {
    if (length < kIpv6HeaderLength) return false;
    ipv6 = true;
    end = kIpv6HeaderLength + Load16(ip + kIpv6PayloadLengthOffset);
    if (end > length) return false;
    tos = static_cast<uint8_t>(Load16(ip) >> 4);
    next_header_at = kIpv6NextHeaderOffset;
    protocol = ip[next_header_at];
    transport = kIpv6HeaderLength;
    while (protocol == kProtocolHopByHop || protocol == kProtocolRouting ||
           protocol == kProtocolDestinationOptions || protocol == kProtocolFragment) {
      if (end - transport < 8) return false;
      const uint8_t* const header = ip + transport;
      if (protocol == kProtocolFragment) {
        if (fragment_header != 0) return false;
        fragment_header = transport;
        fragment_at = Load16(header + 2) & 0xfff8u;
        more = (header[3] & 1) != 0;
        fragment = fragment_at != 0 || more;  // else an atomic one: RFC 6946
        protocol = header[0];
        transport += 8;
        if (fragment) return true;
        continue;
      }
      const size_t header_length = (size_t{header[1]} + 1) * 8;
      if (header_length > end - transport) return false;
      if (protocol == kProtocolRouting && header[3] != 0) return false;
      if (fragment_header == 0) next_header_at = transport;
      protocol = header[0];
      transport += header_length;
    }
    return true;
  }
};

// Whether the address can be one host's that is answered: neither unspecified, loopback, multicast, nor
// broadcast (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5), nor an IPv4 address within an IPv6 one, which a
// host takes for the IPv4 one.
inline bool IsHost(const uint8_t* address, bool ipv6) {
  if (!ipv6) return address[0] != 0 && address[0] != 127 && address[0] < 224;
  static constexpr uint8_t kZeros[10] = {};
  if (address[0] == 0xff) return false;
  const uint16_t before_ipv4 = Load16(address + 10);
  return std::memcmp(address, kZeros, sizeof(kZeros)) != 0 || (before_ipv4 != 0 && before_ipv4 != 0xffff);
}

}  // namespace tuntap
