#include "segmentation.h"

#include <cerrno>

#include "checksum.h"
#include "packet_headers.h"

namespace tuntap {
namespace {

// A packet's headers fit its link's MTU (RFC 7112 section 5). Without this bound, a hostile packet would make
// Next() copy kilobytes of header before each byte of payload.
constexpr size_t kMaxHeaderLength = 2048;

// Completes a checksum that the kernel left to the device: the field holds the pseudo-header's sum, and
// everything from csum_start on is added to it (linux: skb_checksum_help()).
bool CompleteChecksum(const VirtioNetHeader& header, uint8_t* packet, size_t length, LinkLayer link) {
  const LinkHeader link_header = ReadLinkHeader(packet, length, link);
  size_t network_end = link_header.length;
  if (link_header.ether_type == kEtherTypeIpv6) {
    network_end += kIpv6HeaderLength;
  } else if (link_header.ether_type == kEtherTypeIpv4) {
    if (link_header.length >= length) return false;
    network_end += size_t{packet[link_header.length] & 0x0fu} * 4;
    if (network_end < link_header.length + kIpv4MinHeaderLength) return false;
  } else if (link == LinkLayer::kIp) {
    return false;
  }
  const size_t start = header.csum_start;
  const size_t field = start + header.csum_offset;
  if (start < network_end || field + 2 > length) return false;
  const uint16_t sum = ChecksumPartial(packet + start, length - start);
  uint16_t checksum = static_cast<uint16_t>(~sum);
  // RFC 768: zero means that there is no checksum. Only the offset tells UDP, since the transport header may
  // belong to a packet inside this one.
  if (checksum == 0 && header.csum_offset == kUdpChecksumOffset) checksum = 0xffff;
  StoreAsIs16(packet + field, checksum);
  return true;
}

// Sets `destination` to the address where a source route ends, if the packet has not got there (RFC 791
// section 3.1; linux: ip_options_build()). `length` is that of the whole IP header.
void ReadIpv4Route(const uint8_t* ip, size_t length, uint8_t* destination) {
  for (size_t at = kIpv4MinHeaderLength; at < length && ip[at] != kIpv4OptionEnd;) {
    if (ip[at] == kIpv4OptionNop) {
      at++;
      continue;
    }
    const size_t option_length = at + 1 < length ? ip[at + 1] : 0;
    if (option_length < 2 || option_length > length - at) return;
    if (ip[at] == kIpv4OptionLooseRoute || ip[at] == kIpv4OptionStrictRoute) {
      const size_t pointer = option_length < 7 ? 0 : ip[at + 2];  // counted from 1
      if (pointer >= 4 && pointer <= option_length) std::memcpy(destination, ip + at + option_length - 4, 4);
      return;
    }
    at += option_length;
  }
}

// The same by a routing header of `length` bytes. `destination` has the IPv6 header's address, of which a
// compressed one takes its beginning.
void ReadIpv6Route(const uint8_t* header, size_t length, uint8_t* destination) {
  const size_t segments_left = header[3];
  if (segments_left == 0) return;
  size_t count = (length - 8) / 16;
  size_t last = 8;    // where the last address is
  size_t elided = 0;  // how many of its bytes are left out
  switch (header[2]) {
    case kRouteSource:  // RFC 2460 section 4.4
      last += 16 * (count - 1);
      break;
    case kRouteHomeAddress:  // RFC 6275 section 6.4
    case kRouteSegments:     // RFC 8754 section 2: the list is reversed
      break;
    case kRouteRpl: {  // RFC 6554 section 3
      elided = header[4] & 0x0f;
      const size_t padding = header[5] >> 4;
      if (length < 8 + padding + 16 - elided) return;
      last = length - padding - (16 - elided);
      count = 1 + (last - 8) / (16 - (header[4] >> 4));
      break;
    }
    default:
      return;
  }
  if (segments_left <= count) std::memcpy(destination + elided, header + last, 16 - elided);
}

}  // namespace

int Segmenter::Begin(const VirtioNetHeader& header, uint8_t* packet, size_t length, LinkLayer link) {
  remaining_ = 0;
  if (length == 0 || (header.flags & VIRTIO_NET_HDR_F_RSC_INFO) != 0) return -EINVAL;
  const bool needs_checksum = (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
    if (needs_checksum && !CompleteChecksum(header, packet, length, link)) return -EINVAL;
    return 1;
  }

  const LinkHeader link_header = ReadLinkHeader(packet, length, link);
  ipv6_ = link_header.ether_type == kEtherTypeIpv6;
  if (!ipv6_ && link_header.ether_type != kEtherTypeIpv4) return -EINVAL;
  const int type = header.gso_type & ~(VIRTIO_NET_HDR_GSO_ECN | VIRTIO_NET_HDR_GSO_ACCECN);
  tcp_ = type == (ipv6_ ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
  // ECN is TCP's. UFO and tunnels were never asked for.
  if (!tcp_ && header.gso_type != VIRTIO_NET_HDR_GSO_UDP_L4) return -EINVAL;
  if (header.gso_size == 0) return -EINVAL;
  accurate_ecn_ = (header.gso_type & VIRTIO_NET_HDR_GSO_ACCECN) != 0;
  packet_ = packet;
  length_ = length;
  link_length_ = link_header.length;
  segment_size_ = header.gso_size;
  if (!ReadHeaders(header, tcp_ ? kProtocolTcp : kProtocolUdp)) return -EINVAL;
  PrepareSums(needs_checksum);

  first_ = true;
  const size_t payload_length = length_ - header_length_;
  if (payload_length <= segment_size_) {
    StampHeader(packet, payload_length, ChecksumPartial(packet + header_length_, payload_length));
    return 1;
  }
  remaining_ = payload_length;
  return static_cast<int>((payload_length + segment_size_ - 1) / segment_size_);
}

// Ignores hdr_len: for a forwarded packet it is the length of whatever the kernel has in one piece (linux:
// virtio_net_hdr_from_skb()).
bool Segmenter::ReadHeaders(const VirtioNetHeader& header, uint8_t protocol) {
  if (!(ipv6_ ? ReadIpv6(protocol) : ReadIpv4(protocol))) return false;
  const uint8_t* const transport = packet_ + transport_offset_;
  const size_t transport_length = length_ - transport_offset_;
  if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    if (header.csum_start != transport_offset_) return false;
    if (header.csum_offset != (tcp_ ? kTcpChecksumOffset : kUdpChecksumOffset)) return false;
  }
  if (tcp_) {
    if (transport_length < kTcpMinHeaderLength) return false;
    const size_t tcp_length = size_t{transport[kTcpDataOffsetOffset]} / 16 * 4;
    if (tcp_length < kTcpMinHeaderLength || tcp_length > transport_length) return false;
    header_length_ = transport_offset_ + tcp_length;
    sequence_ = Load32(transport + kTcpSequenceOffset);
    flags_ = transport[kTcpFlagsOffset];
  } else {
    if (transport_length < kUdpHeaderLength) return false;
    if (Load16(transport + kUdpLengthOffset) != transport_length) return false;
    header_length_ = transport_offset_ + kUdpHeaderLength;
  }
  return header_length_ <= kMaxHeaderLength;
}

bool Segmenter::ReadIpv4(uint8_t protocol) {
  const uint8_t* const ip = packet_ + link_length_;
  const size_t ip_length = length_ - link_length_;
  if (ip_length < kIpv4MinHeaderLength || ip[0] >> 4 != 4) return false;
  const size_t header_length = size_t{ip[0] & 0x0fu} * 4;
  if (header_length < kIpv4MinHeaderLength || header_length > ip_length) return false;
  if (Load16(ip + kIpv4LengthOffset) != ip_length || ip[kIpv4ProtocolOffset] != protocol) return false;
  if ((Load16(ip + kIpv4FragmentOffset) & kIpv4MoreFragmentsAndOffset) != 0) return false;
  identification_ = Load16(ip + kIpv4IdentificationOffset);
  transport_offset_ = link_length_ + header_length;
  extension_headers_ = false;
  std::memcpy(destination_, ip + kIpv4DestinationOffset, 4);
  ReadIpv4Route(ip, header_length, destination_);
  return true;
}

// Follows the extension headers behind which the kernel segments (linux: ipv6_gso_pull_exthdrs()). Each has a
// multiple of 8 bytes (RFC 8200 section 4).
bool Segmenter::ReadIpv6(uint8_t protocol) {
  const uint8_t* const ip = packet_ + link_length_;
  const size_t ip_length = length_ - link_length_;
  if (ip_length < kIpv6HeaderLength || ip[0] >> 4 != 6) return false;
  if (Load16(ip + kIpv6PayloadLengthOffset) != ip_length - kIpv6HeaderLength) return false;
  uint8_t next_header = ip[kIpv6NextHeaderOffset];
  size_t at = kIpv6HeaderLength;
  std::memcpy(destination_, ip + kIpv6DestinationOffset, 16);
  while (next_header == kProtocolHopByHop || next_header == kProtocolRouting ||
         next_header == kProtocolDestinationOptions) {
    if (ip_length - at < 8) return false;
    const size_t header_length = (size_t{ip[at + 1]} + 1) * 8;
    if (header_length > ip_length - at) return false;
    if (next_header == kProtocolRouting) ReadIpv6Route(ip + at, header_length, destination_);
    next_header = ip[at];
    at += header_length;
  }
  if (next_header != protocol) return false;
  transport_offset_ = link_length_ + at;
  extension_headers_ = at != kIpv6HeaderLength;
  return true;
}

void Segmenter::PrepareSums(bool needs_checksum) {
  const uint8_t* const ip = packet_ + link_length_;
  const uint8_t* const transport = packet_ + transport_offset_;
  if (!ipv6_) {
    uint8_t header[60];  // the longest that IHL can say
    const size_t header_length = transport_offset_ - link_length_;
    std::memcpy(header, ip, header_length);
    Store16(header + kIpv4LengthOffset, 0);
    Store16(header + kIpv4IdentificationOffset, 0);
    Store16(header + kIpv4ChecksumOffset, 0);
    network_sum_ = ChecksumPartial(header, header_length);
  }

  uint8_t header[kTcpMaxHeaderLength];
  const size_t header_length = header_length_ - transport_offset_;
  std::memcpy(header, transport, header_length);
  const size_t checksum_offset = tcp_ ? kTcpChecksumOffset : kUdpChecksumOffset;
  Store16(header + checksum_offset, 0);
  if (tcp_) {
    Store32(header + kTcpSequenceOffset, 0);
    header[kTcpFlagsOffset] = 0;
  } else {
    Store16(header + kUdpLengthOffset, 0);
  }
  transport_sum_ = ChecksumPartial(header, header_length);

  if (extension_headers_ && needs_checksum) {
    // A home address option, too, changes the pseudo-header (RFC 6275 section 6.3). The kernel's own sum,
    // which covers the whole length, is right for all of them.
    const uint16_t length = htons(static_cast<uint16_t>(length_ - transport_offset_));
    transport_sum_ += LoadAsIs<uint16_t>(transport + checksum_offset) + uint64_t{0xffffu ^ length};
  } else {
    const size_t address_length = ipv6_ ? 16 : 4;
    transport_sum_ += ChecksumPartial(ip + (ipv6_ ? kIpv6SourceOffset : kIpv4SourceOffset), address_length);
    transport_sum_ += ChecksumPartial(destination_, address_length);
    transport_sum_ += htons(tcp_ ? kProtocolTcp : kProtocolUdp);
  }
}

// Writes the fields that differ from packet to packet into a copy of the headers.
void Segmenter::StampHeader(uint8_t* out, size_t payload_length, uint16_t payload_sum) const {
  uint8_t* const ip = out + link_length_;
  uint8_t* const transport = out + transport_offset_;
  const size_t transport_length = header_length_ - transport_offset_ + payload_length;
  if (ipv6_) {
    const size_t length = header_length_ - link_length_ - kIpv6HeaderLength + payload_length;
    Store16(ip + kIpv6PayloadLengthOffset, static_cast<uint16_t>(length));
  } else {
    const auto length = static_cast<uint16_t>(header_length_ - link_length_ + payload_length);
    Store16(ip + kIpv4LengthOffset, length);
    Store16(ip + kIpv4IdentificationOffset, identification_);
    const uint64_t sum = network_sum_ + htons(length) + htons(identification_);
    StoreAsIs16(ip + kIpv4ChecksumOffset, static_cast<uint16_t>(~ChecksumFold(sum)));
  }

  uint64_t sum = transport_sum_ + htons(static_cast<uint16_t>(transport_length)) + payload_sum;
  if (tcp_) {
    uint8_t flags = flags_;
    if (!first_ && !accurate_ecn_) flags &= static_cast<uint8_t>(~kTcpCwr);  // RFC 3168 section 6.1.2
    if (remaining_ > payload_length) flags &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    Store32(transport + kTcpSequenceOffset, sequence_);
    transport[kTcpFlagsOffset] = flags;
    sum += htonl(sequence_);
    sum += htons(flags);
    StoreAsIs16(transport + kTcpChecksumOffset, static_cast<uint16_t>(~ChecksumFold(sum)));
  } else {
    const uint16_t length = htons(static_cast<uint16_t>(transport_length));
    sum += length;
    StoreAsIs16(transport + kUdpLengthOffset, length);
    const auto checksum = static_cast<uint16_t>(~ChecksumFold(sum));
    StoreAsIs16(transport + kUdpChecksumOffset, checksum == 0 ? 0xffff : checksum);  // RFC 768
  }
}

void Segmenter::Next(uint8_t* out) {
  const size_t payload_length = remaining_ < segment_size_ ? remaining_ : segment_size_;
  std::memcpy(out, packet_, header_length_);
  const uint16_t sum = ChecksumCopy(out + header_length_, packet_ + length_ - remaining_, payload_length);
  StampHeader(out, payload_length, sum);
  remaining_ -= payload_length;
  sequence_ += static_cast<uint32_t>(payload_length);
  identification_++;
  first_ = false;
}

}  // namespace tuntap
