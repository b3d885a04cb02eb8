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

Bytes Slice(const Bytes& bytes, size_t from, size_t length) {
  CHECK(from + length <= bytes.size(), "%zu bytes at %zu", length, from);
  return Bytes(bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(from + length));
}

// Where the route of an IPv4 header ends; empty: nowhere else.
Bytes Ipv4RouteEnd(const Bytes& header) {
  for (size_t at = 20; at < header.size() && header[at] != 0;) {
    if (header[at] == 1) {
      at++;
    } else {
      const size_t length = at + 1 < header.size() ? header[at + 1] : 0;
      if (length < 2 || at + length > header.size()) return {};
      if (header[at] == 131 || header[at] == 137) {
        const bool goes_on = length >= 7 && header[at + 2] >= 4 && header[at + 2] <= length;
        return goes_on ? Slice(header, at + length - 4, 4) : Bytes();
      }
      at += length;
    }
  }
  return {};
}

// The same of a routing header, whose addresses are those of RFC 2460, 6275, 6554 or 8754.
Bytes Ipv6RouteEnd(const Bytes& header, const Bytes& destination) {
  std::vector<Bytes> addresses;
  if (header[2] == 0 || header[2] == 2 || header[2] == 4) {
    for (size_t at = 8; at + 16 <= header.size(); at += 16) addresses.push_back(Slice(header, at, 16));
  } else if (header[2] == 3) {
    const size_t compressed_last = header[4] & 15u, compressed = header[4] >> 4, padding = header[5] >> 4;
    if (header.size() < 8 + padding + 16 - compressed_last) return {};
    const size_t last = header.size() - padding - (16 - compressed_last);
    for (size_t at = 8; at + 16 - compressed <= last; at += 16 - compressed) addresses.push_back({});
    Bytes address = Slice(destination, 0, compressed_last);
    Append(address, Slice(header, last, 16 - compressed_last));
    addresses.push_back(address);
  }
  if (header[3] == 0 || header[3] > addresses.size()) return {};
  return header[2] == 0 || header[2] == 3 ? addresses.back() : addresses[0];
}

// Lengths and checksums of a packet that came out.
void CheckPacket(const Bytes& packet, size_t ip, bool udp, bool kernel_sum) {
  const bool ipv6 = packet[ip] >> 4 == 6;
  const size_t address_length = ipv6 ? 16 : 4;
  Bytes pseudo = Slice(packet, ip + (ipv6 ? 8 : 12), address_length);
  Bytes destination = Slice(packet, ip + (ipv6 ? 24 : 16), address_length);
  size_t transport = ip + (ipv6 ? 40u : (packet[ip] & 15u) * 4);
  if (ipv6) {
    CHECK(packet[ip + 4] * 256u + packet[ip + 5] == packet.size() - ip - 40, "IPv6 payload length");
    const bool extended = packet[ip + 6] != (udp ? 17 : 6);
    if (extended && kernel_sum) return;
    for (uint8_t type = packet[ip + 6]; type != (udp ? 17 : 6);) {
      const Bytes header = Slice(packet, transport, (packet[transport + 1] + 1u) * 8);
      const Bytes end = type == 43 ? Ipv6RouteEnd(header, destination) : Bytes();
      if (!end.empty()) destination = end;
      type = header[0];
      transport += header.size();
    }
  } else {
    CHECK(packet[ip + 2] * 256u + packet[ip + 3] == packet.size() - ip, "IPv4 total length");
    CHECK(ReferenceSum(packet.data() + ip, transport - ip) == 0xffff, "IPv4 header checksum");
    const Bytes end = Ipv4RouteEnd(Slice(packet, ip, transport - ip));
    if (!end.empty()) destination = end;
  }
  Append(pseudo, destination);
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
  const bool kernel_sum = (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  if (count == 1) {
    CHECK(segmenter.Done(), "one packet");
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) CheckPacket(packet, ip, udp, kernel_sum);
    return 0;
  }
  int packets = 0;
  for (; !segmenter.Done(); packets++) {
    Bytes out(segmenter.NextLength());
    segmenter.Next(out.data());
    if (packets < 300 || segmenter.Done()) CheckPacket(out, ip, udp, kernel_sum);
  }
  CHECK(packets == count && packet == before, "%d packets of %d", packets, count);
  return 0;
}
