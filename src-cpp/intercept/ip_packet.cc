#include "intercept/ip_packet.h"

namespace tuntap {
namespace {

constexpr size_t kMaxExtensionHeaders = 8;
constexpr size_t kExtensionUnit = 8;
constexpr size_t kIcmpHeaderLength = 8;

// Finds what stands behind the extension headers; returns its protocol, or kProtocolFragment at a fragment
// header. `packet->transport` is beyond the length if they lie.
uint8_t PassExtensionHeaders(IpPacket* packet) {
  uint8_t protocol = packet->bytes[kIpv6NextHeaderOffset];
  for (size_t i = 0; i < kMaxExtensionHeaders; i++) {
    if (protocol != kProtocolHopByHop && protocol != kProtocolDestinationOptions) break;
    const size_t at = packet->transport;
    if (at + kExtensionUnit > packet->length) {
      packet->transport = packet->length + 1;
      break;
    }
    protocol = packet->bytes[at];
    packet->transport += kExtensionUnit * (1 + size_t{packet->bytes[at + 1]});
  }
  return protocol;
}

void ReadTransport(IpPacket* packet, uint8_t protocol) {
  if (packet->transport > packet->length) return;
  const size_t left = packet->length - packet->transport;
  if (protocol == kProtocolFragment) {
    packet->sort = PacketSort::kFragment;
  } else if (protocol == kProtocolTcp) {
    if (left < kTcpMinHeaderLength) return;
    const size_t header = 4 * size_t{static_cast<uint8_t>(packet->header()[kTcpDataOffsetOffset] >> 4)};
    if (header < kTcpMinHeaderLength || header > left) return;
    packet->payload = packet->transport + header;
    packet->sort = PacketSort::kTcp;
  } else if (protocol == kProtocolUdp) {
    if (left < kUdpHeaderLength) return;
    packet->payload = packet->transport + kUdpHeaderLength;
    packet->sort = PacketSort::kUdp;
  } else if (protocol == (packet->ipv4 ? kProtocolIcmp : kProtocolIcmpv6)) {
    if (left < kIcmpHeaderLength) return;
    packet->payload = packet->transport + kIcmpHeaderLength;
    packet->sort = PacketSort::kIcmp;
  } else {
    packet->sort = PacketSort::kOther;
  }
}

}  // namespace

IpPacket ReadIpPacket(uint8_t* bytes, size_t present) {
  IpPacket packet;
  packet.bytes = bytes;
  if (present >= kIpv4MinHeaderLength && bytes[0] >> 4 == 4) {
    packet.ipv4 = true;
    packet.transport = 4 * size_t{static_cast<uint8_t>(bytes[0] & 0x0f)};
    packet.length = Load16(bytes + kIpv4LengthOffset);
    if (packet.transport < kIpv4MinHeaderLength || packet.length > present) return packet;
    const bool fragment = (Load16(bytes + kIpv4FragmentOffset) & kIpv4MoreFragmentsAndOffset) != 0;
    ReadTransport(&packet, fragment ? kProtocolFragment : bytes[kIpv4ProtocolOffset]);
  } else if (present >= kIpv6HeaderLength && bytes[0] >> 4 == 6) {
    packet.transport = kIpv6HeaderLength;
    packet.length = kIpv6HeaderLength + Load16(bytes + kIpv6PayloadLengthOffset);
    if (packet.length > present) return packet;
    const uint8_t protocol = PassExtensionHeaders(&packet);
    ReadTransport(&packet, protocol);
  }
  return packet;
}

}  // namespace tuntap
