#include "coalescing_rules.h"

#include "header_checksums.h"

namespace tuntap {
namespace {

bool IsCoalesced(uint8_t protocol, CoalescedProtocols protocols) {
  return (protocol == kProtocolTcp && protocols.tcp) || (protocol == kProtocolUdp && protocols.udp);
}

// Whether TCP or UDP may follow an IPv6 header of this type. Candidates have no such header: they are rare,
// though the kernel merges behind some (linux: ipv6_gro_receive()).
bool IsExtensionHeader(uint8_t next_header) {
  return next_header == kProtocolHopByHop || next_header == kProtocolRouting ||
         next_header == kProtocolFragment || next_header == kProtocolAuthentication ||
         next_header == kProtocolDestinationOptions;
}

// A mask over the 8 bytes at `offset` of a header, as they lie in memory, without the bytes `from` to `to`.
constexpr uint64_t MaskWithout(size_t from, size_t to) {
  uint64_t mask = ~uint64_t{0};
  for (size_t byte = from; byte < to; byte++) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    mask &= ~(uint64_t{0xff} << (8 * byte));
#else
    mask &= ~(uint64_t{0xff} << (56 - 8 * byte));
#endif
  }
  return mask;
}

uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;  // 2^64 / golden ratio
  return hash ^ (hash >> 32);
}

template <size_t kWords>
bool SameWords(const uint8_t* a, const uint8_t* b) {
  uint32_t difference = 0;
  for (size_t i = 0; i < kWords; i++) {
    difference |= LoadAsIs<uint32_t>(a + 4 * i) ^ LoadAsIs<uint32_t>(b + 4 * i);
  }
  return difference == 0;
}

Mergeability ClassifyTcp(const uint8_t* tcp, size_t room, bool exact, Segment* segment) {
  if (room < kTcpMinHeaderLength) return Mergeability::kSealsAll;
  segment->flags = tcp[kTcpFlagsOffset];
  segment->sequence = Load32(tcp + kTcpSequenceOffset);
  const size_t header_length = size_t{tcp[kTcpDataOffsetOffset]} / 16 * 4;
  if (!exact || header_length < kTcpMinHeaderLength || header_length >= room) return Mergeability::kSealsFlow;
  segment->transport_length = static_cast<uint8_t>(header_length);
  segment->payload_length = static_cast<uint16_t>(room - header_length);
  const uint8_t merged_flags = kTcpAck | kTcpPsh | kTcpEce;
  if ((segment->flags & kTcpAck) == 0 || (segment->flags & ~merged_flags) != 0) {
    return Mergeability::kSealsFlow;
  }
  return Mergeability::kCandidate;
}

// A datagram without a checksum stays alone, since splitting would give it one. IPv6 forbids such datagrams
// (RFC 8200 section 8.1).
Mergeability ClassifyUdp(const uint8_t* udp, size_t room, bool exact, Segment* segment) {
  if (room < kUdpHeaderLength) return Mergeability::kSealsAll;
  if (!exact || room == kUdpHeaderLength || Load16(udp + kUdpLengthOffset) != room ||
      LoadAsIs<uint16_t>(udp + kUdpChecksumOffset) == 0) {
    return Mergeability::kSealsFlow;
  }
  segment->flags = 0;
  segment->sequence = 0;
  segment->transport_length = kUdpHeaderLength;
  segment->payload_length = static_cast<uint16_t>(room - kUdpHeaderLength);
  return Mergeability::kCandidate;
}

}  // namespace

Mergeability Classify(const uint8_t* packet, size_t length, LinkLayer link, CoalescedProtocols protocols,
                      Segment* segment) {
  const LinkHeader link_header = ReadLinkHeader(packet, length, link);
  const uint8_t* const ip = packet + link_header.length;
  const size_t room = length - link_header.length;
  segment->packet = packet;
  segment->link_length = static_cast<uint8_t>(link_header.length);
  segment->checksums = Segment::Checksums::kUnknown;
  size_t ip_total;
  if (link_header.ether_type == kEtherTypeIpv4) {
    if (room < kIpv4MinHeaderLength || !IsCoalesced(ip[kIpv4ProtocolOffset], protocols)) {
      return Mergeability::kUnrelated;
    }
    const uint16_t fragment = Load16(ip + kIpv4FragmentOffset);
    if (ip[0] != 0x45 || (fragment & kIpv4MoreFragmentsAndOffset) != 0) return Mergeability::kSealsAll;
    segment->protocol = ip[kIpv4ProtocolOffset];
    segment->ip_length = kIpv4MinHeaderLength;
    segment->identification = Load16(ip + kIpv4IdentificationOffset);
    segment->dont_fragment = (fragment & kIpv4DontFragment) != 0;
    ip_total = Load16(ip + kIpv4LengthOffset);
  } else if (link_header.ether_type == kEtherTypeIpv6) {
    if (room < kIpv6HeaderLength) return Mergeability::kUnrelated;
    const uint8_t next_header = ip[kIpv6NextHeaderOffset];
    if (!IsCoalesced(next_header, protocols)) {
      return IsExtensionHeader(next_header) ? Mergeability::kSealsAll : Mergeability::kUnrelated;
    }
    if (ip[0] >> 4 != 6) return Mergeability::kSealsAll;
    segment->protocol = next_header;
    segment->ip_length = kIpv6HeaderLength;
    segment->identification = 0;
    segment->dont_fragment = true;
    ip_total = kIpv6HeaderLength + size_t{Load16(ip + kIpv6PayloadLengthOffset)};
  } else {
    return Mergeability::kUnrelated;
  }
  if (ip_total < segment->ip_length || ip_total > room) return Mergeability::kSealsAll;
  // A frame may have padding behind its packet (IEEE 802.3 section 3.2.8), which can't be merged.
  const bool exact = ip_total == room && ip_total <= kMaxIpPacketLength;
  const size_t transport_room = ip_total - segment->ip_length;
  const uint8_t* const transport = ip + segment->ip_length;
  return segment->tcp() ? ClassifyTcp(transport, transport_room, exact, segment)
                        : ClassifyUdp(transport, transport_room, exact, segment);
}

uint32_t FlowHash(const Segment& segment) {
  const uint8_t* const ip = segment.ip();
  uint64_t hash = uint64_t{segment.protocol} << 32 | LoadAsIs<uint32_t>(segment.transport());
  if (segment.ipv6()) {
    for (size_t at = kIpv6SourceOffset; at < kIpv6HeaderLength; at += 8) {
      hash = Mix(hash, LoadAsIs<uint64_t>(ip + at));
    }
  } else {
    hash = Mix(hash, LoadAsIs<uint64_t>(ip + kIpv4SourceOffset));
  }
  return static_cast<uint32_t>(Mix(hash, 0));
}

bool SameFlow(const Segment& a, const Segment& b) {
  if (a.ip_length != b.ip_length || a.protocol != b.protocol || a.link_length != b.link_length) return false;
  // Addresses and ports lie side by side: neither IP header has options.
  const bool same = a.ipv6() ? SameWords<9>(a.ip() + kIpv6SourceOffset, b.ip() + kIpv6SourceOffset)
                             : SameWords<3>(a.ip() + kIpv4SourceOffset, b.ip() + kIpv4SourceOffset);
  return same && (a.link_length == 0 || std::memcmp(a.packet, b.packet, a.link_length) == 0);
}

bool SameHeaders(const Segment& a, const Segment& b) {
  if (a.transport_length != b.transport_length) return false;
  const uint8_t* const ip_a = a.ip();
  const uint8_t* const ip_b = b.ip();
  const uint64_t begin = LoadAsIs<uint64_t>(ip_a) ^ LoadAsIs<uint64_t>(ip_b);
  if (a.ipv6()) {
    // version, traffic class, flow label; next header, hop limit
    if ((begin & MaskWithout(4, 6)) != 0) return false;
  } else {
    // version, header length, TOS; fragment field; TTL, protocol
    const uint64_t end = LoadAsIs<uint64_t>(ip_a + 8) ^ LoadAsIs<uint64_t>(ip_b + 8);
    if (((begin & MaskWithout(2, 6)) | (end & MaskWithout(2, 8))) != 0) return false;
  }
  if (!a.tcp()) return true;
  const uint8_t* const tcp_a = a.transport();
  const uint8_t* const tcp_b = b.transport();
  if (((a.flags ^ b.flags) & ~kTcpPsh) != 0 ||
      tcp_a[kTcpDataOffsetOffset] != tcp_b[kTcpDataOffsetOffset] ||  // with the reserved bits
      LoadAsIs<uint16_t>(tcp_a + kTcpWindowOffset) != LoadAsIs<uint16_t>(tcp_b + kTcpWindowOffset) ||
      LoadAsIs<uint32_t>(tcp_a + kTcpAcknowledgmentOffset) !=
          LoadAsIs<uint32_t>(tcp_b + kTcpAcknowledgmentOffset)) {
    return false;
  }
  uint32_t difference =
      LoadAsIs<uint16_t>(tcp_a + kTcpUrgentOffset) ^ LoadAsIs<uint16_t>(tcp_b + kTcpUrgentOffset);
  for (size_t at = kTcpMinHeaderLength; at < a.transport_length; at += 4) {  // options
    difference |= LoadAsIs<uint32_t>(tcp_a + at) ^ LoadAsIs<uint32_t>(tcp_b + at);
  }
  return difference == 0;
}

bool ChecksumsValid(Segment& segment) {
  if (segment.checksums == Segment::Checksums::kUnknown) {
    const size_t length = size_t{segment.transport_length} + segment.payload_length;
    const uint64_t sum = uint64_t{PseudoHeaderSum(segment.ip(), segment.ipv6(), segment.protocol, length)} +
                         ChecksumPartial(segment.transport(), length);
    const bool valid = ChecksumFold(sum) == 0xffff &&
                       (segment.ipv6() || ChecksumFold(SumOfWords<5>(segment.ip())) == 0xffff);
    segment.checksums = valid ? Segment::Checksums::kValid : Segment::Checksums::kInvalid;
  }
  return segment.checksums == Segment::Checksums::kValid;
}

}  // namespace tuntap
