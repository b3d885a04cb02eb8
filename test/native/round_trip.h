#ifndef TUNTAP_TEST_ROUND_TRIP_H_
#define TUNTAP_TEST_ROUND_TRIP_H_

#include <algorithm>
#include <memory>

#include "../../src-cpp/offload/coalescing.h"
#include "../../src-cpp/offload/segmentation.h"
#include "check.h"
#include "packets.h"

// Checks a plan against what it was made of: whatever the packets are, each is written exactly once, the
// kernel takes every super-packet, splitting gives the packets back, and none passes another of its flow.

struct Plan {
  std::string groups;  // the packets of each write: "0 1 2 | 3"
  size_t writes;
};

// What can't be told apart by its flow holds back all flows.
enum class Place { kFree, kFlow, kBarrier };

// The flow of a packet, read independently of the code under test.
inline Place FlowOf(const Bytes& packet, tuntap::LinkLayer link, tuntap::CoalescedProtocols protocols,
                    Bytes* flow) {
  size_t ip = 0;
  if (link == tuntap::LinkLayer::kEthernet) {
    size_t type = 12;
    while (type < 20 && type + 2 <= packet.size() &&
           ((packet[type] == 0x81 && packet[type + 1] == 0) ||
            (packet[type] == 0x88 && packet[type + 1] == 0xa8))) {
      type += 4;
    }
    if (type + 2 > packet.size()) return Place::kFree;
    const unsigned ether_type = packet[type] * 256u + packet[type + 1];
    ip = type + 2;
    if (ether_type != 0x0800 && ether_type != 0x86dd) return Place::kFree;
  }
  flow->assign(packet.begin(), packet.begin() + static_cast<long>(ip));
  if (packet.size() < ip + 20) return Place::kFree;
  const int version = packet[ip] >> 4;
  const size_t transport = ip + (version == 4 ? 20 : 40);
  if ((version != 4 && version != 6) || packet.size() < transport) return Place::kFree;
  const uint8_t protocol = packet[ip + (version == 4 ? 9 : 6)];
  if (version == 6 &&
      (protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60)) {
    return Place::kBarrier;
  }
  if (!(protocol == 6 && protocols.tcp) && !(protocol == 17 && protocols.udp)) return Place::kFree;
  if (version == 4 && (packet[ip] != 0x45 || (packet[ip + 6] & 0x3f) != 0 || packet[ip + 7] != 0))
    return Place::kBarrier;
  if (packet.size() < transport + 4) return Place::kBarrier;
  flow->push_back(protocol);
  flow->insert(flow->end(), packet.begin() + static_cast<long>(ip + (version == 4 ? 12 : 8)),
               packet.begin() + static_cast<long>(transport + 4));
  return Place::kFlow;
}

// Splitting gives the packet back, but for what has no meaning: the identification where fragmentation is
// forbidden (RFC 6864), and a checksum's negative zero.
inline bool SamePacket(const Bytes& out, Bytes expected, size_t ip, const tuntap::VirtioNetHeader& header) {
  if (out.size() != expected.size()) return false;
  const auto use_positive_zero = [&](size_t at) {
    if (expected[at] == 0xff && expected[at + 1] == 0xff) expected[at] = expected[at + 1] = 0;
  };
  if (header.csum_offset == 16) use_positive_zero(header.csum_start + size_t{16});
  if (expected[ip] >> 4 == 4) {
    if (ReferenceSum(out.data() + ip, 20) != 0xffff) return false;
    use_positive_zero(ip + 10);
    if ((expected[ip + 6] & 0x40) != 0) {
      for (const size_t at : {ip + 4, ip + 5, ip + 10, ip + 11}) expected[at] = out[at];
    }
  }
  return out == expected;
}

inline void CheckSuperPacket(const tuntap::Coalescer::Write& write, const std::vector<Bytes>& packets,
                             const std::vector<uint32_t>& members, tuntap::LinkLayer link) {
  tuntap::VirtioNetHeader header;
  std::memcpy(&header, write.slices[0].iov_base, sizeof(header));
  Bytes super;
  for (int slice = 1; slice < write.count; slice++) {
    const auto* const base = static_cast<const uint8_t*>(write.slices[slice].iov_base);
    super.insert(super.end(), base, base + write.slices[slice].iov_len);
  }
  // linux: virtio_net_hdr_to_skb()
  const bool udp = header.gso_type == tuntap::VIRTIO_NET_HDR_GSO_UDP_L4;
  CHECK(header.flags == tuntap::VIRTIO_NET_HDR_F_NEEDS_CSUM, "flags %d", header.flags);
  CHECK(header.gso_size != 0 && header.gso_size != 0xffff, "gso_size %d", header.gso_size);
  CHECK(header.csum_offset == (udp ? 6 : 16), "csum_offset %d", header.csum_offset);
  CHECK(header.hdr_len < super.size(), "hdr_len %d", header.hdr_len);
  const size_t payload_length = super.size() - header.hdr_len;
  CHECK(payload_length > header.gso_size, "payload of %zu", payload_length);
  if (udp) CHECK(payload_length <= header.gso_size * 64u, "payload of %zu", payload_length);
  size_t ip = header.csum_start - 20u;
  if (header.gso_type == tuntap::VIRTIO_NET_HDR_GSO_TCPV6 || super[ip] != 0x45) ip -= 20;
  CHECK(super.size() - ip <= 65535, "%zu bytes", super.size());
  const bool ipv6 = super[ip] >> 4 == 6;
  if (!ipv6) CHECK(ReferenceSum(super.data() + ip, 20) == 0xffff, "IPv4 header %s", Hex(super).c_str());
  Bytes pseudo(super.begin() + static_cast<long>(ip + (ipv6 ? 8 : 12)), super.begin() + header.csum_start);
  Append16(pseudo, udp ? 17 : 6);
  Append16(pseudo, static_cast<uint32_t>(super.size() - header.csum_start));
  const size_t field = size_t{header.csum_start} + header.csum_offset;
  CHECK(ReferenceSum(pseudo.data(), pseudo.size()) == super[field] * 256u + super[field + 1],
        "partial checksum");

  tuntap::Segmenter segmenter;
  const int count = segmenter.Begin(header, super.data(), super.size(), link);
  CHECK(count == static_cast<int>(members.size()), "%d packets of %zu", count, members.size());
  for (const uint32_t member : members) {
    Bytes out(segmenter.NextLength(), 0xff);
    segmenter.Next(out.data());
    CHECK(SamePacket(out, packets[member], ip, header), "packet %u: %s, not %s", member, Hex(out).c_str(),
          Hex(packets[member]).c_str());
  }
}

inline Plan CheckPlan(tuntap::Coalescer& coalescer, const std::vector<Bytes>& packets, tuntap::LinkLayer link,
                      tuntap::CoalescedProtocols protocols) {
  std::vector<tuntap::OutgoingPacket> outgoing;
  for (const Bytes& packet : packets) outgoing.push_back({packet.data(), packet.size()});
  Plan plan;
  plan.writes = coalescer.Plan(outgoing.data(), outgoing.size(), link, protocols);
  std::vector<Place> places(packets.size());
  std::vector<Bytes> flows(packets.size());
  for (size_t i = 0; i < packets.size(); i++) places[i] = FlowOf(packets[i], link, protocols, &flows[i]);
  std::vector<bool> written(packets.size());
  uint32_t previous_first = 0;
  for (size_t i = 0; i < plan.writes; i++) {
    std::vector<uint32_t> members;
    for (uint32_t packet = coalescer.FirstPacket(i); packet != tuntap::Coalescer::kNoPacket;
         packet = coalescer.NextPacket(packet)) {
      CHECK(packet < packets.size() && !written[packet] && !packets[packet].empty(), "packet %u", packet);
      written[packet] = true;
      members.push_back(packet);
      plan.groups += (members.size() != 1 ? " " : i == 0 ? "" : " | ") + std::to_string(packet);
    }
    CHECK(members.size() == coalescer.PacketCount(i), "write %zu", i);
    const tuntap::Coalescer::Write write = coalescer.Prepare(i);
    size_t bytes = 0;
    for (int slice = 0; slice < write.count; slice++) bytes += write.slices[slice].iov_len;
    CHECK(write.count <= 1024 && write.bytes == bytes && write.slices[0].iov_len == 10, "write %zu", i);
    const auto [first, last] = std::minmax_element(members.begin(), members.end());
    CHECK(i == 0 || *first > previous_first, "write %zu is out of order", i);
    previous_first = *first;
    if (members.size() != 1) {
      CheckSuperPacket(write, packets, members, link);
      for (uint32_t between = *first; between < *last; between++) {
        if (std::find(members.begin(), members.end(), between) != members.end()) continue;
        CHECK(places[between] != Place::kBarrier, "packet %u was passed", between);
        CHECK(places[between] != Place::kFlow || flows[between] != flows[*first],
              "packet %u was passed by its flow", between);
      }
    }
    for (const uint32_t member : members) {
      const tuntap::Coalescer::Write single = coalescer.PrepareSingle(member);
      const Bytes& packet = packets[member];
      CHECK(single.count == 2 && single.slices[1].iov_len == packet.size() &&
                single.bytes == 10 + packet.size() &&
                std::memcmp(single.slices[1].iov_base, packet.data(), packet.size()) == 0 &&
                std::memcmp(single.slices[0].iov_base, "\0\0\0\0\0\0\0\0\0\0", 10) == 0,
            "packet %u alone", member);
    }
  }
  for (size_t i = 0; i < packets.size(); i++)
    CHECK(written[i] || packets[i].empty(), "packet %zu is lost", i);
  return plan;
}

#endif  // TUNTAP_TEST_ROUND_TRIP_H_
