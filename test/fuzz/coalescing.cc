// Batches of any packets, and splitting gives them back. Input: a byte of options, then either packets as
// they are (two bytes of length each) or choices for the generator of the property test.

#include "../native/random_batch.h"
#include "../native/round_trip.h"

using namespace tuntap;

namespace {

constexpr uint8_t kRawPackets = 1;
constexpr uint8_t kNoTcp = 2;
constexpr uint8_t kNoUdp = 4;
constexpr uint8_t kRepair = 8;  // lengths and checksums of raw packets, so that they are candidates at all
constexpr int kLinkShift = 4;

void Repair(Bytes& packet, size_t ip) {
  if (packet.size() < ip + 28) return;
  const bool ipv6 = packet[ip] >> 4 == 6;
  const size_t transport = ip + (ipv6 ? 40 : 20);
  const bool udp = packet[ip + (ipv6 ? 6 : 9)] == 17;
  const size_t field = transport + (udp ? 6 : 16);
  if (packet.size() < field + 2) return;
  if (ipv6) {
    Put16(packet, ip + 4, static_cast<uint32_t>(packet.size() - transport));
  } else {
    Put16(packet, ip + 2, static_cast<uint32_t>(packet.size() - ip));
    Put16(packet, ip + 10, 0);
    Put16(packet, ip + 10, 0xffff - ReferenceSum(packet.data() + ip, 20));
  }
  if (udp) Put16(packet, transport + 4, static_cast<uint32_t>(packet.size() - transport));
  Put16(packet, field, 0);
  Bytes pseudo(packet.begin() + static_cast<long>(ip + (ipv6 ? 8 : 12)),
               packet.begin() + static_cast<long>(transport));
  Append16(pseudo, udp ? 17 : 6);
  Append16(pseudo, static_cast<uint32_t>(packet.size() - transport));
  Append(pseudo, Bytes(packet.begin() + static_cast<long>(transport), packet.end()));
  const uint32_t checksum = 0xffff - ReferenceSum(pseudo.data(), pseudo.size());
  Put16(packet, field, checksum == 0 && udp ? 0xffff : checksum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto coalescer = std::make_unique<Coalescer>();
  if (size == 0) return 0;
  const uint8_t options = data[0];
  const Link link = static_cast<Link>(options >> kLinkShift & 3);
  std::vector<Bytes> packets;
  size_t at = 1;
  if ((options & kRawPackets) != 0) {
    const size_t link_lengths[] = {0, 14, 18, 22};
    while (at + 2 <= size && packets.size() < Coalescer::kMaxPackets) {
      const size_t length = std::min<size_t>(data[at] * 256u + data[at + 1], size - at - 2);
      packets.emplace_back(data + at + 2, data + at + 2 + length);
      at += 2 + length;
      if ((options & kRepair) != 0) Repair(packets.back(), link_lengths[options >> kLinkShift & 3]);
    }
  } else {
    const Choose choose = [&](uint32_t below) { return at < size ? data[at++] % below : below - 1; };
    packets = ChooseBatch(choose, link, std::min<size_t>(size / 4, 64));
  }
  (void)CheckPlan(*coalescer, packets, LayerOf(link), {(options & kNoTcp) == 0, (options & kNoUdp) == 0});
  return 0;
}
