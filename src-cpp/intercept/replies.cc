#include "intercept/replies.h"

#include <algorithm>

#include "offload/checksum.h"

namespace tuntap {
namespace {

constexpr uint8_t kTtl = 64;
constexpr uint8_t kClassCs6 = 0xc0;  // internetwork control, as RFC 1812 section 4.3.2.5 wants of errors
constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpv6Unreachable = 1;
constexpr size_t kIcmpHeaderLength = 8;
// RFC 1812 section 4.3.2.3 and RFC 4443 section 3.1: what leaves the error at 576 and at 1,280 bytes.
constexpr size_t kMaxIpv4Error = 576;
constexpr size_t kMaxIpv6Error = 1280;

// Room for a packet with a zeroed prefix and IP header, or nullptr.
uint8_t* Begin(Appender* out, size_t prefix, bool ipv4, size_t payload, uint8_t protocol, uint8_t dscp) {
  const size_t header = ipv4 ? kIpv4MinHeaderLength : kIpv6HeaderLength;
  const size_t length = header + payload;
  uint8_t* const at = out->Reserve(prefix + length);
  if (at == nullptr) return nullptr;
  std::memset(at, 0, prefix + length);
  uint8_t* const packet = at + prefix;
  if (ipv4) {
    packet[0] = 0x45;
    packet[1] = dscp;
    Store16(packet + kIpv4LengthOffset, static_cast<uint16_t>(length));
    Store16(packet + kIpv4FragmentOffset, kIpv4DontFragment);
    packet[8] = kTtl;
    packet[kIpv4ProtocolOffset] = protocol;
  } else {
    packet[0] = static_cast<uint8_t>(0x60 | dscp >> 4);
    packet[1] = static_cast<uint8_t>(dscp << 4);
    Store16(packet + kIpv6PayloadLengthOffset, static_cast<uint16_t>(payload));
    packet[kIpv6NextHeaderOffset] = protocol;
    packet[7] = kTtl;
  }
  return packet;
}

// Completes both sums; the header above IP is `transport` bytes into the packet.
void Finish(Appender* out, size_t prefix, IpPacket packet, uint8_t protocol, size_t checksum_offset,
            bool pseudo_header) {
  if (packet.ipv4) {
    const uint16_t sum = ChecksumPartial(packet.bytes, kIpv4MinHeaderLength);
    StoreAsIs16(packet.bytes + kIpv4ChecksumOffset, static_cast<uint16_t>(~sum));
  }
  uint64_t sum = ChecksumPartial(packet.header(), packet.length - packet.transport);
  if (pseudo_header) sum += PseudoHeaderSum(packet, protocol);
  StoreAsIs16(packet.header() + checksum_offset, static_cast<uint16_t>(~ChecksumFold(sum)));
  out->Commit(prefix + packet.length);
}

}  // namespace

void AppendSegment(Appender* out, size_t prefix, const BareSegment& segment) {
  IpPacket packet;
  packet.ipv4 = segment.ipv4;
  packet.bytes = Begin(out, prefix, segment.ipv4, kTcpMinHeaderLength, kProtocolTcp, 0);
  if (packet.bytes == nullptr) return;
  packet.transport = segment.ipv4 ? kIpv4MinHeaderLength : kIpv6HeaderLength;
  packet.length = packet.transport + kTcpMinHeaderLength;
  std::memcpy(packet.source(), segment.source.address, packet.address_length());
  std::memcpy(packet.destination(), segment.destination.address, packet.address_length());
  uint8_t* const header = packet.header();
  StoreAsIs16(header, segment.source.port);
  StoreAsIs16(header + 2, segment.destination.port);
  Store32(header + kTcpSequenceOffset, segment.sequence);
  Store32(header + kTcpAcknowledgmentOffset, segment.acknowledgment);
  header[kTcpDataOffsetOffset] = kTcpMinHeaderLength / 4 << 4;
  header[kTcpFlagsOffset] = segment.flags;
  Finish(out, prefix, packet, kProtocolTcp, kTcpChecksumOffset, true);
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
  IpPacket error;
  error.ipv4 = offender.ipv4;
  error.transport = offender.ipv4 ? kIpv4MinHeaderLength : kIpv6HeaderLength;
  const size_t largest = offender.ipv4 ? kMaxIpv4Error : kMaxIpv6Error;
  const size_t quoted = std::min(offender.length, largest - error.transport - kIcmpHeaderLength);
  const uint8_t protocol = offender.ipv4 ? kProtocolIcmp : kProtocolIcmpv6;
  error.bytes = Begin(out, prefix, offender.ipv4, kIcmpHeaderLength + quoted, protocol, kClassCs6);
  if (error.bytes == nullptr) return;
  error.length = error.transport + kIcmpHeaderLength + quoted;
  std::memcpy(error.source(), offender.destination(), error.address_length());
  std::memcpy(error.destination(), offender.source(), error.address_length());
  uint8_t* const message = error.header();
  message[0] = offender.ipv4 ? kIcmpUnreachable : kIcmpv6Unreachable;
  message[1] = offender.ipv4 ? kIpv4Codes[reason] : kIpv6Codes[reason];
  std::memcpy(message + kIcmpHeaderLength, offender.bytes, quoted);
  Finish(out, prefix, error, protocol, 2, !offender.ipv4);
}

}  // namespace tuntap
