#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "coalescing_rules.h"
#include "packet_headers.h"
#include "virtio_net_header.h"

namespace tuntap {

struct OutgoingPacket {
  const uint8_t* data;
  size_t length;  // 0: passed over
};

// Plans how a batch of packets is written to a device with IFF_VNET_HDR: neighbours of one flow become a
// super-packet, the others are written as they are. A flow's packets keep their order, except that a TCP
// segment is put before a later one that came first. Flows are written in the order of their first packets.
//
// A Coalescer is large (about 400 KB) and allocates nothing: use one for many batches.
class Coalescer {
 public:
  static constexpr size_t kMaxPackets = 4096;
  static constexpr uint32_t kNoPacket = ~uint32_t{0};
  static constexpr int kMaxSlices = 1024;  // IOV_MAX

  // One write: `count` slices for writev(2), the first of which is the virtio_net_hdr; `bytes` in all.
  struct Write {
    const struct iovec* slices;
    int count;
    size_t bytes;
  };

  // `virtio_header_size`: kMaxVirtioHeaderSize at most.
  explicit Coalescer(size_t virtio_header_size = sizeof(VirtioNetHeader))
      : virtio_header_size_(virtio_header_size) {}

  // Plans packets[0] to packets[count - 1], at most kMaxPackets, and returns the number of writes. The caller
  // keeps the packets and the array as they are until the last write.
  [[nodiscard]] size_t Plan(const OutgoingPacket* packets, size_t count, LinkLayer link,
                            CoalescedProtocols protocols);

  // Returns what to write; valid until the next call.
  [[nodiscard]] Write Prepare(size_t write);

  // The packets of a write, in order: from FirstPacket() by NextPacket() to kNoPacket. If the kernel refuses
  // a super-packet, write them one by one with PrepareSingle().
  [[nodiscard]] uint32_t FirstPacket(size_t write) const { return groups_[write].first; }
  [[nodiscard]] uint32_t NextPacket(uint32_t packet) const { return next_[packet]; }
  [[nodiscard]] uint32_t PacketCount(size_t write) const { return groups_[write].count; }
  [[nodiscard]] Write PrepareSingle(uint32_t packet);

  // Whether a super-packet is of UDP, not TCP.
  [[nodiscard]] bool IsUdp(size_t write) const { return !groups_[write].leader.tcp(); }

 private:
  // A write as it grows.
  struct Group {
    Segment leader;  // the packet with the lowest sequence number; its headers become the super-packet's
    uint32_t first;
    uint32_t last;
    uint32_t count;
    uint32_t payload_length;
    uint16_t segment_size;  // gso_size
    bool full;              // nothing can be appended: the last packet is short, or has PSH
    bool push;              // the last packet has PSH
  };

  // An entry of the flow table: open addressing, emptied by a new generation.
  struct Flow {
    uint32_t generation;
    uint32_t hash;
    uint32_t group;  // the flow's latest
    bool open;       // which may still be merged with
  };
  static constexpr size_t kMinFlows = 64;
  static constexpr size_t kFlows = 2 * kMaxPackets;
  // More probes mean that somebody chooses flows that collide. Packets of flows without an entry are written
  // as they are.
  static constexpr size_t kMaxProbes = 16;

  void NextGeneration();
  Flow* FindFlow(const Segment& segment, uint32_t hash, bool insert);
  uint32_t AddGroup(uint32_t packet);
  void Insert(Segment& segment, uint32_t packet);
  bool Merge(Group& group, Segment& segment, uint32_t packet);
  size_t BuildHeader(const Group& group);

  const OutgoingPacket* packets_ = nullptr;
  size_t group_count_ = 0;
  size_t flow_count_ = 0;        // entries of this generation
  size_t flow_mask_ = 0;         // of the part of the table that is used
  Flow* latest_flow_ = nullptr;  // the latest candidate's
  uint32_t generation_ = 0;
  const size_t virtio_header_size_;
  PaddedVirtioNetHeader virtio_{};
  uint8_t header_[kMaxLinkHeaderLength + kIpv6HeaderLength + kTcpMaxHeaderLength];
  struct iovec slices_[kMaxSlices];
  Flow flows_[kFlows] = {};
  Group groups_[kMaxPackets];
  uint32_t next_[kMaxPackets];
};

}  // namespace tuntap
