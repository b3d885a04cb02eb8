#include "intercept/replies.h"

#include <algorithm>

#include "intercept/ip_writer.h"

namespace tuntap {
namespace {

constexpr uint8_t kClassCs6 = 0xc0;  // internetwork control, as RFC 1812 section 4.3.2.5 wants of errors
constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpv6Unreachable = 1;
// RFC 1812 section 4.3.2.3 and RFC 4443 section 3.1: what leaves the error at 576 and at 1,280 bytes.
constexpr size_t kMaxIpv4Error = 576;
constexpr size_t kMaxIpv6Error = 1280;

// Room for a packet, with its IP header and zeros around that; without bytes if there is none. IPv4 packets
// may not be fragmented.
IpPacket Begin(Appender* out, size_t prefix, IpHeaderFields fields) {
  IpPacket packet;
  packet.ipv4 = !fields.ipv6;
  packet.transport = IpHeaderLength(fields.ipv6);
  packet.length = packet.transport + fields.payload_length;
  uint8_t* const at = out->Reserve(prefix + packet.length);
  if (at == nullptr) return packet;
  std::memset(at, 0, prefix + packet.length);
  packet.bytes = at + prefix;
  fields.dont_fragment = true;
  WriteIpHeader(packet.bytes, fields);
  return packet;
}

// Completes the checksum above IP. ICMP's has no pseudo-header.
void Finish(Appender* out, size_t prefix, const IpPacket& packet, uint8_t protocol, size_t checksum_offset) {
  uint64_t sum = ChecksumPartial(packet.header(), packet.length - packet.transport);
  if (protocol != kProtocolIcmp) sum += PseudoHeaderSum(packet, protocol);
  StoreAsIs16(packet.header() + checksum_offset, static_cast<uint16_t>(~ChecksumFold(sum)));
  out->Commit(prefix + packet.length);
}

}  // namespace

void AppendSegment(Appender* out, size_t prefix, const BareSegment& segment) {
  const IpPacket packet = Begin(out, prefix,
                                {!segment.ipv4, kProtocolTcp, segment.source.address,
                                 segment.destination.address, kTcpMinHeaderLength});
  if (packet.bytes == nullptr) return;
  uint8_t* const header = packet.header();
  StoreAsIs16(header, segment.source.port);
  StoreAsIs16(header + 2, segment.destination.port);
  Store32(header + kTcpSequenceOffset, segment.sequence);
  Store32(header + kTcpAcknowledgmentOffset, segment.acknowledgment);
  header[kTcpDataOffsetOffset] = kTcpMinHeaderLength / 4 << 4;
  header[kTcpFlagsOffset] = segment.flags;
  Finish(out, prefix, packet, kProtocolTcp, kTcpChecksumOffset);
}

void AppendReset(Appender* out, size_t prefix, const IpPacket& offender) {
  const bool acknowledges = (offender.tcp_flags() & kTcpAck) != 0;
  const uint8_t* const header = offender.header();
  BareSegment reset{};
  reset.ipv4 = offender.ipv4;
  reset.source = {offender.destination(), LoadAsIs<uint16_t>(header + 2)};
  reset.destination = {offender.source(), LoadAsIs<uint16_t>(header)};
  reset.sequence = acknowledges ? offender.tcp_acknowledgment() : 0;
  reset.acknowledgment = acknowledges ? 0 : offender.tcp_sequence() + offender.tcp_span();
  reset.flags = acknowledges ? kTcpRst : kTcpRst | kTcpAck;
  AppendSegment(out, prefix, reset);
}

void AppendUnreachable(Appender* out, size_t prefix, const IpPacket& offender, Unreachable why) {
  constexpr uint8_t kIpv4Codes[] = {3, 1, 13};
  constexpr uint8_t kIpv6Codes[] = {4, 3, 1};
  const auto reason = static_cast<size_t>(why);
  const bool ipv6 = !offender.ipv4;
  const size_t room = (ipv6 ? kMaxIpv6Error : kMaxIpv4Error) - IpHeaderLength(ipv6) - kIcmpHeaderLength;
  const size_t quoted = std::min(offender.length, room);
  const uint8_t protocol = ipv6 ? kProtocolIcmpv6 : kProtocolIcmp;
  const IpPacket error = Begin(
      out, prefix,
      {ipv6, protocol, offender.destination(), offender.source(), kIcmpHeaderLength + quoted, kClassCs6});
  if (error.bytes == nullptr) return;
  uint8_t* const message = error.header();
  message[0] = ipv6 ? kIcmpv6Unreachable : kIcmpUnreachable;
  message[1] = ipv6 ? kIpv6Codes[reason] : kIpv4Codes[reason];
  std::memcpy(message + kIcmpHeaderLength, offender.bytes, quoted);
  Finish(out, prefix, error, protocol, kIcmpChecksumOffset);
}

}  // namespace tuntap
