#include "intercept/ip_packet.h"

#include "intercept/ip_headers.h"

namespace tuntap {
namespace {

constexpr size_t kIcmpHeaderLength = 8;

// Sets what is told by the header above IP.
void ReadTransport(IpPacket* packet, uint8_t protocol) {
  const size_t left = packet->length - packet->transport;
  size_t header = 0;
  PacketSort sort = PacketSort::kOther;
  if (protocol == kProtocolTcp) {
    if (left < kTcpMinHeaderLength) return;
    header = 4 * size_t{static_cast<uint8_t>(packet->header()[kTcpDataOffsetOffset] >> 4)};
    if (header < kTcpMinHeaderLength) return;
    sort = PacketSort::kTcp;
  } else if (protocol == kProtocolUdp) {
    header = kUdpHeaderLength;
    sort = PacketSort::kUdp;
  } else if (protocol == (packet->ipv4 ? kProtocolIcmp : kProtocolIcmpv6)) {
    header = kIcmpHeaderLength;
    sort = PacketSort::kIcmp;
  }
  if (header > left) return;
  packet->payload = packet->transport + header;
  packet->sort = sort;
}

}  // namespace

IpPacket ReadIpPacket(uint8_t* bytes, size_t present) {
  IpPacket packet;
  IpHeaders headers;
  packet.bytes = bytes;
  if (!headers.Read(bytes, present)) return packet;
  packet.ipv4 = !headers.ipv6;
  packet.length = headers.end;
  packet.transport = headers.transport;
  if (headers.fragment) {
    packet.sort = PacketSort::kFragment;
  } else {
    ReadTransport(&packet, headers.protocol);
  }
  return packet;
}

bool IsBetweenHosts(const IpPacket& packet) {
  return IsHost(packet.source(), !packet.ipv4) && IsHost(packet.destination(), !packet.ipv4);
}

}  // namespace tuntap
