// Hostile super-packets. Input: a byte of options, the 10 bytes of the virtio_net_hdr, the packet.

#include "../../src-cpp/offload/segmentation.h"

#include <cerrno>

#include "../native/check.h"
#include "../native/packets.h"

using namespace tuntap;

namespace {

constexpr uint8_t kIsFrame = 1;
constexpr uint8_t kRepairLengths = 2;  // so that a mutated packet gets past the first checks

void RepairLengths(Bytes& packet, size_t ip, const VirtioNetHeader& header) {
  if (packet.size() < ip + 20) return;
  if (packet[ip] >> 4 == 4) Put16(packet, ip + 2, static_cast<uint32_t>(packet.size() - ip));
  if (packet[ip] >> 4 == 6) Put16(packet, ip + 4, static_cast<uint32_t>(packet.size() - ip - 40));
  const size_t udp = header.csum_start;
  if (header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && udp + 8 <= packet.size()) {
    Put16(packet, udp + 4, static_cast<uint32_t>(packet.size() - udp));
  }
}

// Lengths and checksums of a packet that came out, where no extension header stands between.
void CheckPacket(const Bytes& packet, size_t ip, bool udp) {
  const bool ipv6 = packet[ip] >> 4 == 6;
  const size_t transport = ip + (ipv6 ? 40u : (packet[ip] & 15u) * 4);
  if (ipv6) {
    CHECK(packet[ip + 4] * 256u + packet[ip + 5] == packet.size() - ip - 40, "IPv6 payload length");
    if (packet[ip + 6] != (udp ? 17 : 6)) return;
  } else {
    CHECK(packet[ip + 2] * 256u + packet[ip + 3] == packet.size() - ip, "IPv4 total length");
    CHECK(ReferenceSum(packet.data() + ip, transport - ip) == 0xffff, "IPv4 header checksum");
  }
  const size_t addresses = ip + (ipv6 ? 8 : 12), end = addresses + (ipv6 ? 32 : 8);
  Bytes pseudo(packet.begin() + static_cast<long>(addresses), packet.begin() + static_cast<long>(end));
  Append16(pseudo, udp ? 17 : 6);
  Append16(pseudo, static_cast<uint32_t>(packet.size() - transport));
  Append(pseudo, Bytes(packet.begin() + static_cast<long>(transport), packet.end()));
  CHECK(ReferenceSum(pseudo.data(), pseudo.size()) == 0xffff, "checksum of %s", Hex(packet).c_str());
  if (udp) {
    CHECK(packet[transport + 4] * 256u + packet[transport + 5] == packet.size() - transport, "UDP length");
    CHECK(packet[transport + 6] != 0 || packet[transport + 7] != 0, "UDP checksum zero");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 11) return 0;
  VirtioNetHeader header;
  std::memcpy(&header, data + 1, sizeof(header));
  Bytes packet(data + 11, data + size);
  const LinkLayer link = (data[0] & kIsFrame) != 0 ? LinkLayer::kEthernet : LinkLayer::kIp;
  size_t ip = 0;
  if (link == LinkLayer::kEthernet) {
    for (ip = 14; ip < 22 && ip + 4 <= packet.size() &&
                  ((packet[ip - 2] == 0x81 && packet[ip - 1] == 0) ||
                   (packet[ip - 2] == 0x88 && packet[ip - 1] == 0xa8));) {
      ip += 4;
    }
  }
  if ((data[0] & kRepairLengths) != 0) RepairLengths(packet, ip, header);
  const Bytes before = packet;

  Segmenter segmenter;
  const int count = segmenter.Begin(header, packet.data(), packet.size(), link);
  if (count < 0) {
    CHECK(count == -EINVAL && segmenter.Done() && packet == before, "refused");
    return 0;
  }
  CHECK(count > 0, "%d", count);
  const bool udp = header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
  if (count == 1) {
    CHECK(segmenter.Done(), "one packet");
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) CheckPacket(packet, ip, udp);
    return 0;
  }
  int packets = 0;
  for (; !segmenter.Done(); packets++) {
    Bytes out(segmenter.NextLength());
    segmenter.Next(out.data());
    if (packets < 300 || segmenter.Done()) CheckPacket(out, ip, udp);
  }
  CHECK(packets == count && packet == before, "%d packets of %d", packets, count);
  return 0;
}
