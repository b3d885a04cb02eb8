#include "intercept/nat.h"
#include "offload/header_checksums.h"
#include "offload/virtio_net_header.h"

// ICMP errors about what was written to the client, as its path MTU: the stack hears of them, too.

namespace tuntap {
namespace {

constexpr size_t kQuotedTransport = 8;  // ports and sequence number, RFC 792

bool IsError(const IpPacket& packet) {
  const uint8_t type = packet.header()[0];
  // RFC 792: destination unreachable, time exceeded, parameter problem. RFC 4443 section 2.1: below 128.
  return packet.ipv4 ? type == 3 || type == 11 || type == 12 : type < 128;
}

uint64_t IcmpSum(const IpPacket& packet) {
  const uint64_t sum = ChecksumPartial(packet.header(), packet.length - packet.transport);
  return packet.ipv4 ? sum : sum + PseudoHeaderSum(packet, kProtocolIcmpv6);
}

// The packet that an error quotes; it may be cut behind the ports. Returns false for anything but a TCP
// segment.
bool ReadQuoted(const IpPacket& error, IpPacket* quoted) {
  quoted->bytes = error.header() + kIcmpHeaderLength;
  quoted->ipv4 = error.ipv4;
  quoted->length = error.length - error.transport - kIcmpHeaderLength;
  if (quoted->length < (error.ipv4 ? kIpv4MinHeaderLength : kIpv6HeaderLength)) return false;
  if (quoted->bytes[0] >> 4 != (error.ipv4 ? 4 : 6)) return false;
  quoted->transport = error.ipv4 ? 4 * size_t{quoted->bytes[0] & 0x0fU} : kIpv6HeaderLength;
  const uint8_t protocol = quoted->bytes[error.ipv4 ? kIpv4ProtocolOffset : kIpv6NextHeaderOffset];
  return protocol == kProtocolTcp && quoted->transport >= kIpv4MinHeaderLength &&
         quoted->length >= quoted->transport + kQuotedTransport &&
         (!error.ipv4 || (Load16(quoted->bytes + kIpv4FragmentOffset) & kIpv4MoreFragmentsAndOffset) == 0);
}

}  // namespace

bool Nat::TranslateError(const IpPacket& packet) {
  IpPacket quoted;
  if (!IsError(packet) || !ReadQuoted(packet, &quoted)) return false;
  if (ChecksumFold(IcmpSum(packet)) != 0xffff) return false;
  uint8_t* const ports = quoted.header();
  const PacketEnd client = {quoted.destination(), LoadAsIs<uint16_t>(ports + 2)};
  const PacketEnd server = {quoted.source(), LoadAsIs<uint16_t>(ports)};
  const uint32_t index = slots_.Find(ConnectionKey::Of(packet.ipv4, client, server));
  if (index == kNoValue) return false;
  if (!IsAccepted(slots_[index].state)) return false;

  uint8_t address[16];
  const PacketEnd inside = InsideEnd(index, address);
  const PacketEnd listener = addresses_.Listener(packet.ipv4);
  const size_t length = packet.address_length();
  std::memcpy(quoted.source(), listener.address, length);
  std::memcpy(quoted.destination(), inside.address, length);
  StoreAsIs16(ports, listener.port);
  StoreAsIs16(ports + 2, inside.port);
  if (quoted.ipv4) SetIpv4Checksum(quoted.bytes, quoted.transport);
  // The stack knows no other hosts than those of its network.
  std::memcpy(packet.source(), inside.address, length);
  std::memcpy(packet.destination(), listener.address, length);
  if (packet.ipv4) SetIpv4Checksum(packet.bytes, packet.transport);
  StoreAsIs16(packet.header() + kIcmpChecksumOffset, 0);
  StoreAsIs16(packet.header() + kIcmpChecksumOffset, static_cast<uint16_t>(~ChecksumFold(IcmpSum(packet))));
  if (options_.prefix != 0) std::memset(packet.bytes - options_.prefix, 0, options_.prefix);
  return true;
}

}  // namespace tuntap
