#include "coalescing.h"

#include "header_checksums.h"

namespace tuntap {
namespace {

// linux: UDP_MAX_SEGMENTS was 64 until 6.9, and a super-packet with more is refused
// (virtio_net_hdr_to_skb()).
constexpr uint32_t kMaxUdpSegments = 64;

// Slices for the virtio_net_hdr and the headers, and one for each packet's payload.
constexpr uint32_t kMaxTcpSegments = Coalescer::kMaxSlices - 2;

struct iovec Slice(const void* data, size_t length) {
  return {const_cast<void*>(data), length};  // writev(2) does not write to it
}

}  // namespace

void Coalescer::NextGeneration() {
  flow_count_ = 0;
  latest_flow_ = nullptr;
  if (++generation_ != 0) return;
  for (Flow& flow : flows_) flow.generation = 0;
  generation_ = 1;
}

// Returns the flow's entry, or nullptr if it has none and, with `insert`, can't get one. A new entry has the
// group kNoPacket.
Coalescer::Flow* Coalescer::FindFlow(const Segment& segment, uint32_t hash, bool insert) {
  for (size_t probe = 0; probe < kMaxProbes; probe++) {
    Flow& flow = flows_[(hash + probe) & flow_mask_];
    if (flow.generation != generation_) {
      if (!insert) return nullptr;
      flow_count_++;
      flow = {generation_, hash, kNoPacket, false};
      return &flow;
    }
    if (flow.hash == hash && SameFlow(groups_[flow.group].leader, segment)) return &flow;
  }
  return nullptr;
}

uint32_t Coalescer::AddGroup(uint32_t packet) {
  Group& group = groups_[group_count_];
  group.first = group.last = packet;
  group.count = 1;
  next_[packet] = kNoPacket;
  return static_cast<uint32_t>(group_count_++);
}

size_t Coalescer::Plan(const OutgoingPacket* packets, size_t count, LinkLayer link,
                       CoalescedProtocols protocols) {
  packets_ = packets;
  group_count_ = 0;
  if (count == 0) return 0;
  NextGeneration();
  if (count > kMaxPackets) count = kMaxPackets;
  flow_mask_ = kMinFlows - 1;  // a small batch keeps to a small part of the table, for the caches
  while (flow_mask_ < 2 * count - 1) flow_mask_ = 2 * flow_mask_ + 1;
  for (uint32_t packet = 0; packet < count; packet++) {
    const OutgoingPacket& outgoing = packets[packet];
    if (outgoing.length == 0) continue;
    Segment segment;
    switch (Classify(outgoing.data, outgoing.length, link, protocols, &segment)) {
      case Mergeability::kUnrelated:
        AddGroup(packet);
        break;
      case Mergeability::kCandidate:
        Insert(segment, packet);
        break;
      case Mergeability::kSealsFlow:
        if (flow_count_ != 0) {
          Flow* const flow = FindFlow(segment, FlowHash(segment), false);
          if (flow != nullptr) flow->open = false;
        }
        AddGroup(packet);
        break;
      case Mergeability::kSealsAll:
        if (flow_count_ != 0) NextGeneration();
        AddGroup(packet);
        break;
    }
  }
  return group_count_;
}

void Coalescer::Insert(Segment& segment, uint32_t packet) {
  Flow* flow = latest_flow_;  // most packets are of the same flow as the one before
  if (flow == nullptr || !SameFlow(groups_[flow->group].leader, segment)) {
    flow = latest_flow_ = FindFlow(segment, FlowHash(segment), true);
  }
  if (flow != nullptr && flow->open && Merge(groups_[flow->group], segment, packet)) return;
  const uint32_t index = AddGroup(packet);
  if (flow == nullptr) return;
  flow->group = index;
  flow->open = true;
  Group& group = groups_[index];
  group.leader = segment;
  group.payload_length = segment.payload_length;
  group.segment_size = segment.payload_length;
  group.push = (segment.flags & kTcpPsh) != 0;
  group.full = group.push;
}

// Plan() tries a flow's latest group only, so no packet passes another one of its flow.
bool Coalescer::Merge(Group& group, Segment& segment, uint32_t packet) {
  Segment& leader = group.leader;
  const uint32_t payload_length = segment.payload_length;
  if (leader.ip_length + leader.transport_length + group.payload_length + payload_length >
      kMaxIpPacketLength) {
    return false;
  }
  if (group.count >= (leader.tcp() ? kMaxTcpSegments : kMaxUdpSegments)) return false;

  const bool push = (segment.flags & kTcpPsh) != 0;
  const bool append = !leader.tcp() || segment.sequence == leader.sequence + group.payload_length;
  if (append) {
    if (group.full || payload_length > group.segment_size) return false;
  } else {
    if (segment.sequence + payload_length != leader.sequence || push) return false;
    if (group.count == 1 ? payload_length < group.segment_size : payload_length != group.segment_size) {
      return false;
    }
  }
  if (!SameHeaders(leader, segment)) return false;
  // Splitting counts the identification up from the leader's. If fragmentation is forbidden, it means nothing
  // (RFC 6864 section 4.1), and senders leave it at 0.
  if (!leader.dont_fragment) {
    const uint32_t expected = append ? leader.identification + group.count : leader.identification - 1u;
    if (segment.identification != static_cast<uint16_t>(expected)) return false;
  }
  if (!ChecksumsValid(leader) || !ChecksumsValid(segment)) return false;

  if (append) {
    group.push = push;
    group.full = push || payload_length < group.segment_size;
    next_[group.last] = packet;
    next_[packet] = kNoPacket;
    group.last = packet;
  } else {
    group.full = group.full || group.segment_size < payload_length;
    group.segment_size = segment.payload_length;
    leader = segment;
    next_[packet] = group.first;
    group.first = packet;
  }
  group.count++;
  group.payload_length += payload_length;
  return true;
}

// Builds virtio_.header and header_ for a group of several packets; returns the length of header_.
size_t Coalescer::BuildHeader(const Group& group) {
  const Segment& leader = group.leader;
  const size_t header_length = leader.header_length();
  const size_t transport_offset = size_t{leader.link_length} + leader.ip_length;
  const size_t transport_length = size_t{leader.transport_length} + group.payload_length;
  std::memcpy(header_, leader.packet, header_length);
  uint8_t* const ip = header_ + leader.link_length;
  uint8_t* const transport = header_ + transport_offset;
  if (leader.ipv6()) {
    Store16(ip + kIpv6PayloadLengthOffset, static_cast<uint16_t>(transport_length));
  } else {
    Store16(ip + kIpv4LengthOffset, static_cast<uint16_t>(leader.ip_length + transport_length));
    SetIpv4Checksum(ip, leader.ip_length);
  }
  // The kernel or the card adds the rest and complements it (linux: CHECKSUM_PARTIAL in skbuff.h).
  const uint16_t sum = PseudoHeaderSum(ip, leader.ipv6(), leader.protocol, transport_length);
  const size_t checksum_offset = leader.tcp() ? kTcpChecksumOffset : kUdpChecksumOffset;
  StoreAsIs16(transport + checksum_offset, sum);
  uint8_t gso_type;
  if (leader.tcp()) {
    if (group.push) transport[kTcpFlagsOffset] |= kTcpPsh;
    gso_type = leader.ipv6() ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
  } else {
    Store16(transport + kUdpLengthOffset, static_cast<uint16_t>(transport_length));
    gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
  }
  virtio_.header = {VIRTIO_NET_HDR_F_NEEDS_CSUM,
                    gso_type,
                    static_cast<uint16_t>(header_length),
                    group.segment_size,
                    static_cast<uint16_t>(transport_offset),
                    static_cast<uint16_t>(checksum_offset)};
  return header_length;
}

Coalescer::Write Coalescer::PrepareSingle(uint32_t packet) {
  const OutgoingPacket& outgoing = packets_[packet];
  virtio_.header = {};
  slices_[0] = Slice(&virtio_, virtio_header_size_);
  slices_[1] = Slice(outgoing.data, outgoing.length);
  return {slices_, 2, virtio_header_size_ + outgoing.length};
}

Coalescer::Write Coalescer::Prepare(size_t write) {
  const Group& group = groups_[write];
  if (group.count == 1) return PrepareSingle(group.first);
  const size_t header_length = BuildHeader(group);
  slices_[0] = Slice(&virtio_, virtio_header_size_);
  slices_[1] = Slice(header_, header_length);
  int count = 2;
  for (uint32_t packet = group.first; packet != kNoPacket; packet = next_[packet]) {
    slices_[count++] = Slice(packets_[packet].data + header_length, packets_[packet].length - header_length);
  }
  return {slices_, count, virtio_header_size_ + header_length + group.payload_length};
}

}  // namespace tuntap
