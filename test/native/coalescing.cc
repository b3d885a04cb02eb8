// Batches in tables with the writes that must come of them. Every plan is also checked as a whole
// (round_trip.h).

#include "../../src-cpp/offload/coalescing.h"

#include <functional>

#include "check.h"
#include "packets.h"
#include "round_trip.h"

using namespace tuntap;

namespace {

const auto kCoalescer = std::make_unique<Coalescer>();
constexpr CoalescedProtocols kBoth = {true, true};

void Expect(const char* name, const std::vector<Bytes>& packets, const std::string& groups,
            Link link = Link::kIp, CoalescedProtocols protocols = kBoth) {
  const Plan plan = CheckPlan(*kCoalescer, packets, LayerOf(link), protocols);
  CHECK(plan.groups == groups, "%s: %s, not %s", name, plan.groups.c_str(), groups.c_str());
}

// The `index`th packet of a flow of 100-byte payloads.
Packet Nth(uint32_t index, bool ipv6, bool udp) {
  Random random(index + 1);
  Packet packet;
  packet.ipv6 = ipv6;
  packet.udp = udp;
  packet.identification = static_cast<uint16_t>(index);
  packet.sequence = 1 + index * 100;
  packet.payload = RandomBytes(random, 100);
  return packet;
}

using Change = std::function<void(Packet&)>;

// Three packets, the second of which is changed (its checksums stay valid).
std::vector<Bytes> Three(bool ipv6, bool udp, const Change& change) {
  std::vector<Bytes> packets;
  for (uint32_t index = 0; index < 3; index++) {
    Packet packet = Nth(index, ipv6, udp);
    if (index == 1) change(packet);
    packets.push_back(Build(packet));
  }
  return packets;
}

struct Row {
  const char* name;
  Change change;
  const char* tcp;  // the writes, or nullptr where it does not apply
  const char* udp;
};

const char* const kAll = "0 1 2";
const char* const kApart = "0 | 1 | 2";

void ChangesOfOnePacket() {
  const Row both[] = {
      {"nothing", [](Packet&) {}, kAll, kAll},
      {"TTL or hop limit", [](Packet& p) { p.ttl = 63; }, kApart, kApart},
      {"TOS or traffic class", [](Packet& p) { p.tos = 4; }, kApart, kApart},
      {"ECN", [](Packet& p) { p.tos = 3; }, kApart, kApart},
      {"shorter", [](Packet& p) { p.payload.resize(99); }, "0 1 | 2", "0 1 | 2"},
      {"longer", [](Packet& p) { p.payload.resize(101); }, kApart, "0 | 1 2"},
      {"one byte", [](Packet& p) { p.payload.resize(1); }, "0 1 | 2", "0 1 | 2"},
      {"no payload", [](Packet& p) { p.payload.clear(); }, kApart, kApart},
      {"source port", [](Packet& p) { p.source_port++; }, "0 | 1 | 2", "0 2 | 1"},
      {"destination port", [](Packet& p) { p.destination_port++; }, "0 | 1 | 2", "0 2 | 1"},
      {"source address", [](Packet& p) { p.host++; }, "0 | 1 | 2", "0 2 | 1"},
      {"sequence", [](Packet& p) { p.sequence++; }, kApart, kAll},
      {"acknowledgment", [](Packet& p) { p.acknowledgment++; }, kApart, kAll},
      {"window", [](Packet& p) { p.window++; }, kApart, kAll},
      {"urgent pointer", [](Packet& p) { p.urgent++; }, kApart, kAll},
      {"reserved bits", [](Packet& p) { p.reserved = 1; }, kApart, kAll},
      {"TCP options",
       [](Packet& p) {
         p.tcp_options = {1, 1, 1, 1};
       },
       kApart, kAll},
      {"PSH", [](Packet& p) { p.flags |= 0x08; }, "0 1 | 2", kAll},
      {"FIN", [](Packet& p) { p.flags |= 0x01; }, kApart, kAll},
      {"SYN", [](Packet& p) { p.flags |= 0x02; }, kApart, kAll},
      {"RST", [](Packet& p) { p.flags |= 0x04; }, kApart, kAll},
      {"URG", [](Packet& p) { p.flags |= 0x20; }, kApart, kAll},
      {"ECE", [](Packet& p) { p.flags |= 0x40; }, kApart, kAll},
      {"CWR", [](Packet& p) { p.flags |= 0x80; }, kApart, kAll},
      {"no ACK", [](Packet& p) { p.flags = 0; }, kApart, kAll},
      {"PSH without ACK", [](Packet& p) { p.flags = 8; }, kApart, kAll},
  };
  for (const bool ipv6 : {false, true}) {
    for (const Row& row : both) {
      Expect(row.name, Three(ipv6, false, row.change), row.tcp);
      Expect(row.name, Three(ipv6, true, row.change), row.udp);
    }
  }
  const Row ipv4[] = {
      {"identification, where DF is set", [](Packet& p) { p.identification = 9; }, kAll, kAll},
      {"DF", [](Packet& p) { p.fragment = 0; }, kApart, kApart},
      {"MF", [](Packet& p) { p.fragment = 0x2000; }, kApart, kApart},
      {"fragment offset", [](Packet& p) { p.fragment = 1; }, kApart, kApart},
      {"the reserved flag", [](Packet& p) { p.fragment = 0xc000; }, kApart, kApart},
      {"IP options",
       [](Packet& p) {
         p.ip_options = {1, 1, 1, 1};
       },
       kApart, kApart},
  };
  for (const Row& row : ipv4) {
    Expect(row.name, Three(false, false, row.change), row.tcp);
    Expect(row.name, Three(false, true, row.change), row.udp);
  }
  for (const bool udp : {false, true}) {
    Expect("flow label", Three(true, udp, [](Packet& p) { p.flow_label = 7; }), kApart);
    Expect("extension headers",
           Three(true, udp,
                 [udp](Packet& p) {
                   p.extension_headers = {static_cast<uint8_t>(udp ? 17 : 6), 0, 1, 4, 0, 0, 0, 0};
                 }),
           kApart);
  }
}

// What every packet of a flow may have, as long as it is the same.
void UniformFields() {
  const Change changes[] = {
      [](Packet& p) { p.flags |= 0x40; },
      [](Packet& p) { p.tcp_options = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}; },
      [](Packet& p) { p.tcp_options = Bytes(40, 1); },
      [](Packet& p) { p.tos = 0x2a; },
      [](Packet& p) { p.fragment = 0; },
      [](Packet& p) { p.reserved = 1; },
  };
  for (const bool ipv6 : {false, true}) {
    for (const Change& change : changes) {
      std::vector<Bytes> packets;
      for (uint32_t index = 0; index < 5; index++) {
        Packet packet = Nth(index, ipv6, false);
        change(packet);
        packets.push_back(Build(packet));
      }
      Expect("uniform", packets, "0 1 2 3 4");
    }
  }
}

void Wraps() {
  for (const bool udp : {false, true}) {
    std::vector<Bytes> packets, repeated, gap;
    for (uint32_t index = 0; index < 4; index++) {
      Packet packet = Nth(index, false, udp);
      packet.fragment = 0;
      packet.sequence = 0xffffff00 + index * 100;
      packet.identification = static_cast<uint16_t>(0xfffe + index);
      packets.push_back(Build(packet));
      packet.identification = 5;
      repeated.push_back(Build(packet));
      packet.identification = static_cast<uint16_t>(index < 2 ? index : index + 1);
      gap.push_back(Build(packet));
    }
    Expect("sequence and identification wrap", packets, "0 1 2 3");
    Expect("the same identification", repeated, "0 | 1 | 2 | 3");
    Expect("a gap in the identification", gap, "0 1 | 2 3");
  }
}

// The packets of one flow in the order given; a minus sign stands for PSH.
std::vector<Bytes> InOrder(const std::vector<int>& order, bool ipv6 = false, bool udp = false) {
  std::vector<Bytes> packets;
  for (const int index : order) {
    Packet packet = Nth(static_cast<uint32_t>(std::abs(index)), ipv6, udp);
    packet.fragment = 0;
    if (index < 0) packet.flags |= 0x08;
    packets.push_back(Build(packet));
  }
  return packets;
}

void Order() {
  for (const bool ipv6 : {false, true}) {
    Expect("in order", InOrder({0, 1, 2, 3}, ipv6), "0 1 2 3");
    Expect("one before", InOrder({1, 0, 2}, ipv6), "1 0 2");
    Expect("backwards", InOrder({3, 2, 1, 0}, ipv6), "3 2 1 0");
    Expect("a gap", InOrder({0, 2, 1, 3}, ipv6), "0 | 2 1 3");
    Expect("a duplicate", InOrder({0, 1, 1, 2}, ipv6), "0 1 | 2 3");
    Expect("PSH ends a run", InOrder({0, -1, 2, 3}, ipv6), "0 1 | 2 3");
    Expect("PSH on the first", InOrder({-0, -1, 2, 3}, ipv6), "0 1 | 2 3");
    Expect("before one with PSH", InOrder({-2, 1, 3}, ipv6), "1 0 | 2");
    Expect("PSH is not put before", InOrder({2, -1, 3}, ipv6), "0 | 1 | 2");
    Expect("UDP has no order", InOrder({2, 1, 3}, true, true), "0 1 2");
  }
  Expect("UDP that could be fragmented", InOrder({2, 1, 3}, false, true), "0 | 1 | 2");
}

void Sizes() {
  const struct {
    std::vector<size_t> sizes;
    const char* writes;
  } rows[] = {
      {{100, 100, 100}, "0 1 2"},  {{100, 100, 40}, "0 1 2"},    {{100, 40, 40}, "0 1 | 2"},
      {{40, 100, 100}, "0 | 1 2"}, {{100, 100, 101}, "0 1 | 2"}, {{100, 40, 100}, "0 1 | 2"},
  };
  for (const auto& row : rows) {
    std::vector<Bytes> tcp, udp;
    uint32_t sequence = 1;
    for (const size_t size : row.sizes) {
      Packet packet = Nth(0, true, false);
      packet.payload.resize(size);
      packet.sequence = sequence;
      sequence += static_cast<uint32_t>(size);
      tcp.push_back(Build(packet));
      packet.udp = true;
      udp.push_back(Build(packet));
    }
    Expect("TCP sizes", tcp, row.writes);
    Expect("UDP sizes", udp, row.writes);
  }
  // The later segment came first: what is put before it must not be shorter.
  const struct {
    size_t first, second;
    const char* writes;
  } backwards[] = {{100, 100, "1 0"}, {100, 40, "1 0"}, {40, 100, "0 | 1"}};
  for (const auto& row : backwards) {
    Packet first = Nth(0, false, false), second = first;
    first.payload.resize(row.first);
    second.payload.resize(row.second);
    second.sequence += static_cast<uint32_t>(row.first);
    Expect("TCP sizes backwards", {Build(second), Build(first)}, row.writes);
    // Nothing follows what is short.
    Packet third = first;
    third.sequence = second.sequence + static_cast<uint32_t>(row.second);
    third.payload.resize(1);
    const std::string writes = row.first == row.second  ? "1 0 2"
                               : row.first > row.second ? "1 0 | 2"
                                                        : "0 | 1 | 2";
    Expect("TCP sizes backwards and on", {Build(second), Build(first), Build(third)}, writes);
  }
}

void Limits() {
  for (const bool ipv6 : {false, true}) {
    for (const bool udp : {false, true}) {
      for (const size_t count : {63u, 64u, 65u, 128u, 129u, 1021u, 1022u, 1023u, 2100u}) {
        std::vector<Bytes> packets;
        for (uint32_t index = 0; index < count; index++) {
          Packet packet = Nth(index, ipv6, udp);
          packet.payload.resize(1);
          packet.sequence = index;
          packets.push_back(Build(packet));
        }
        const size_t most = udp ? 64 : 1022;
        const Plan plan = CheckPlan(*kCoalescer, packets, LinkLayer::kIp, kBoth);
        CHECK(plan.writes == (count + most - 1) / most, "%zu packets in %zu writes", count, plan.writes);
      }
      // 65,535 bytes with the headers: exactly full, and a byte too many.
      for (const size_t excess : {0u, 1u}) {
        std::vector<Bytes> packets;
        Packet packet = Nth(0, ipv6, udp);
        size_t left = 65535 + excess - packet.HeaderLength();
        while (left != 0) {
          packet.payload.assign(std::min<size_t>(left, 1448), 7);
          left -= packet.payload.size();
          packets.push_back(Build(packet));
          packet.sequence += static_cast<uint32_t>(packet.payload.size());
          packet.identification++;
        }
        const Plan plan = CheckPlan(*kCoalescer, packets, LinkLayer::kIp, kBoth);
        CHECK(plan.writes == 1 + excess, "65,535 bytes and %zu: %s", excess, plan.groups.c_str());
      }
      Packet largest = Nth(0, ipv6, udp);
      largest.payload.assign(65535 - largest.HeaderLength(), 1);
      Expect("the largest packets", {Build(largest), Build(largest)}, "0 | 1");
    }
  }
}

void Checksums() {
  for (const bool ipv6 : {false, true}) {
    for (const bool udp : {false, true}) {
      for (const uint32_t bad : {0u, 1u, 2u}) {
        std::vector<Bytes> packets = Three(ipv6, udp, [](Packet&) {});
        packets[bad].back() ^= 1;
        const char* const expected[] = {"0 | 1 2", kApart, "0 1 | 2"};
        Expect("a bad transport checksum", packets, expected[bad]);
        if (ipv6) continue;
        packets = Three(ipv6, udp, [](Packet&) {});
        packets[bad][10] ^= 1;
        Expect("a bad IPv4 header checksum", packets, expected[bad]);
      }
    }
    std::vector<Bytes> packets = Three(ipv6, true, [](Packet&) {});
    for (Bytes& packet : packets) packet[packet.size() - 102] = packet[packet.size() - 101] = 0;
    Expect("UDP without checksum", packets, kApart);
    // A computed zero is sent as 0xFFFF, and merges.
    packets.clear();
    for (uint32_t index = 0; index < 3; index++) {
      Packet zero = Nth(index, ipv6, true);
      zero.payload.assign(100, 0);
      const Bytes without = Build(zero);
      zero.payload[0] = without[without.size() - 102];
      zero.payload[1] = without[without.size() - 101];
      packets.push_back(Build(zero));
      CHECK(packets[index][packets[index].size() - 102] == 0xff, "the test's own packet");
    }
    Expect("a computed zero", packets, kAll);
  }
}

void Flows() {
  std::vector<Bytes> packets;
  for (uint32_t index = 0; index < 4; index++) {
    for (const bool ipv6 : {false, true}) {
      for (const bool udp : {false, true}) packets.push_back(Build(Nth(index, ipv6, udp)));
    }
  }
  Expect("mixed flows", packets, "0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15");
  Expect("TCP alone", packets, "0 4 8 12 | 1 | 2 6 10 14 | 3 | 5 | 7 | 9 | 11 | 13 | 15", Link::kIp,
         {true, false});
  Expect("UDP alone", packets, "0 | 1 5 9 13 | 2 | 3 7 11 15 | 4 | 6 | 8 | 10 | 12 | 14", Link::kIp,
         {false, true});
  Expect("neither", {packets[0], packets[4]}, "0 | 1", Link::kIp, {false, false});
  Expect("nothing", {}, "");
  Expect("passed over", {packets[0], {}, packets[4], {}, packets[8]}, "0 2 4");
  Expect("passed over alone", {{}, {}}, "");

  Packet ack = Nth(2, false, false);
  ack.payload.clear();
  Packet other = ack;
  other.host = 77;
  const Bytes first = Build(Nth(0, false, false)), second = Build(Nth(1, false, false)),
              third = Build(Nth(2, false, false));
  Expect("a pure ACK keeps its place", {first, Build(ack), second, third}, "0 | 1 | 2 3");
  Expect("another flow's ACK", {first, Build(other), second, third}, "0 2 3 | 1");
  Bytes icmp = first;
  icmp[9] = 1;
  Expect("ICMP passes", {first, icmp, second}, "0 2 | 1");
  Expect("garbage", {first, Bytes(1, 0x45), Bytes(19, 0x45), Bytes(1, 0), Bytes(60, 0xff), second},
         "0 5 | 1 | 2 | 3 | 4");
  Bytes padded = Build(Nth(1, false, false));
  padded.push_back(0);
  Expect("longer than the IP length", {first, padded, third}, kApart);
  padded.resize(padded.size() - 2);
  Expect("shorter than the IP length", {first, padded, third}, kApart);

  // More flows than a table of this size can tell apart at once, each with two packets.
  std::vector<Bytes> many;
  for (const uint32_t index : {0u, 1u}) {
    for (uint32_t flow = 0; flow < 2048; flow++) {
      Packet packet = Nth(index, flow % 2, false);
      packet.source_port = static_cast<uint16_t>(flow);
      many.push_back(Build(packet));
    }
  }
  const Plan plan = CheckPlan(*kCoalescer, many, LinkLayer::kIp, kBoth);
  CHECK(plan.writes == 2048, "2,048 flows in %zu writes", plan.writes);
  many.push_back(many[0]);
  std::vector<OutgoingPacket> outgoing;
  for (const Bytes& packet : many) outgoing.push_back({packet.data(), packet.size()});
  CHECK(kCoalescer->Plan(outgoing.data(), outgoing.size(), LinkLayer::kIp, kBoth) == 2048,
        "more than kMaxPackets");
}

void Frames() {
  const Row rows[] = {
      {"nothing", [](Packet&) {}, kAll, kAll},
      {"MAC", [](Packet& p) { p.mac++; }, kApart, "0 2 | 1"},
      {"VLAN", [](Packet& p) { p.vlan++; }, kApart, "0 2 | 1"},
  };
  for (const Link link : {Link::kEthernet, Link::kVlan, Link::kTwoVlans}) {
    for (const bool ipv6 : {false, true}) {
      for (const bool udp : {false, true}) {
        for (const Row& row : rows) {
          if (link == Link::kEthernet && std::string(row.name) == "VLAN") continue;
          Expect(row.name, Three(ipv6, udp, [&](Packet& packet) { row.change(packet); }), kAll, Link::kIp);
          std::vector<Bytes> packets;
          for (uint32_t index = 0; index < 3; index++) {
            Packet packet = Nth(index, ipv6, udp);
            packet.link = link;
            if (index == 1) row.change(packet);
            packets.push_back(Build(packet));
          }
          Expect(row.name, packets, udp ? row.udp : row.tcp, link);
          packets[1].resize(packets[1].size() + 6);  // padding
          Expect("padded", packets, row.udp == kAll ? kApart : udp ? "0 2 | 1" : kApart, link);
          packets[1] = Bytes(60);
          packets[1][12] = 8;
          packets[1][13] = 6;
          Expect("ARP passes", packets, udp ? "0 2 | 1" : kApart, link);
        }
      }
    }
  }
  Packet tagged = Nth(0, false, false), plain = Nth(1, false, false);
  tagged.link = Link::kVlan;
  plain.link = Link::kEthernet;
  Expect("with and without tag", {Build(tagged), Build(plain)}, "0 | 1", Link::kEthernet);
}

}  // namespace

int main() {
  ChangesOfOnePacket();
  UniformFields();
  Wraps();
  Order();
  Sizes();
  Limits();
  Checksums();
  Flows();
  Frames();
  std::puts("coalescing: passed");
}
