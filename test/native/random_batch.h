#ifndef TUNTAP_TEST_RANDOM_BATCH_H_
#define TUNTAP_TEST_RANDOM_BATCH_H_

#include <functional>

#include "packets.h"

// Batches of a few flows that mostly could be merged and sometimes could not. `choose(n)` gives a number
// below n: from a seeded generator in the property test, from the fuzzer's bytes in the fuzz target.
using Choose = std::function<uint32_t(uint32_t below)>;

struct RandomFlow {
  Packet next;
  size_t segment_size;
};

inline RandomFlow ChooseFlow(const Choose& choose, Link link) {
  RandomFlow flow;
  flow.next.link = link;
  flow.next.ipv6 = choose(2) != 0;
  flow.next.udp = choose(2) != 0;
  flow.next.host = static_cast<uint8_t>(choose(3));
  flow.next.source_port = static_cast<uint16_t>(choose(3));
  flow.next.fragment = choose(2) != 0 ? 0x4000 : 0;
  flow.next.identification = static_cast<uint16_t>(0xfff8 + choose(16));
  flow.next.sequence = 0xfffff000 + choose(0x1000);
  flow.next.tcp_options = Bytes(choose(3) * 4, 1);
  if (choose(8) == 0) flow.next.flags |= 0x40;
  const size_t sizes[] = {1, 2, 7, 48, 100, 536, 1440};
  flow.segment_size = sizes[choose(7)];
  return flow;
}

// The flow's next packet, with what happens to packets now and then.
inline Bytes ChoosePacket(const Choose& choose, RandomFlow& flow) {
  Packet& next = flow.next;
  Packet packet = next;
  size_t length = flow.segment_size;
  bool damaged = false;
  uint32_t back = 0;
  switch (choose(60)) {
    case 0:
      length = 1 + choose(static_cast<uint32_t>(length));
      break;
    case 1:
      length += 1 + choose(3);
      break;
    case 2:
      length = 0;
      break;
    case 3:
      packet.flags |= 0x08;
      break;
    case 4:
      packet.flags |= static_cast<uint8_t>(1u << choose(8));
      break;
    case 5:
      packet.ttl--;
      break;
    case 6:
      packet.tos ^= 1;
      break;
    case 7:
      packet.window++;
      break;
    case 8:
      next.acknowledgment = ++packet.acknowledgment;
      break;
    case 9:
      packet.identification++;
      break;
    case 10:
      packet.sequence += static_cast<uint32_t>(choose(2) * length);
      break;
    case 11:
      back = static_cast<uint32_t>(length) * (1 + choose(3));
      break;
    case 12:
      damaged = true;
      break;
    case 13:
      packet.flow_label ^= 1;
      break;
    case 14:
      packet.fragment = choose(2) != 0 ? 0x2000 : 0x4000;
      break;
    case 15:
      packet.ip_options = {1, 1, 1, 1};
      break;
    case 16:
      packet.mac ^= 1;
      break;
    default:
      break;
  }
  packet.sequence -= back;
  packet.payload.resize(length);
  for (size_t i = 0; i < length; i++) packet.payload[i] = static_cast<uint8_t>(packet.sequence + i * 7);
  if (back == 0) {
    next.sequence = packet.sequence + static_cast<uint32_t>(length);
    next.identification = static_cast<uint16_t>(packet.identification + 1);
  }
  Bytes bytes = Build(packet);
  if (damaged) bytes[choose(static_cast<uint32_t>(bytes.size()))] ^= static_cast<uint8_t>(1u << choose(8));
  if (choose(64) == 0 && packet.udp) {
    bytes[packet.TransportOffset() + 6] = bytes[packet.TransportOffset() + 7] = 0;
  }
  if (choose(64) == 0) bytes.push_back(0);
  return bytes;
}

inline std::vector<Bytes> ChooseBatch(const Choose& choose, Link link, size_t count) {
  std::vector<RandomFlow> flows;
  const uint32_t flow_count = 1 + choose(5);
  for (uint32_t i = 0; i < flow_count; i++) flows.push_back(ChooseFlow(choose, link));
  std::vector<Bytes> packets;
  uint32_t flow = 0;
  for (size_t i = 0; i < count; i++) {
    if (choose(4) == 0) flow = choose(flow_count);
    packets.push_back(ChoosePacket(choose, flows[flow]));
    // A neighbour that overtakes, as on a path with several queues.
    if (i > 0 && choose(16) == 0) std::swap(packets[i], packets[i - 1]);
  }
  return packets;
}

#endif  // TUNTAP_TEST_RANDOM_BATCH_H_
