#pragma once

#include "batch/appender.h"
#include "intercept/flow_table.h"
#include "intercept/replies.h"
#include "offload/virtio_net_header.h"

namespace tuntap {

// What became of datagrams, as float64.
enum DatagramCounter : size_t {
  kDatagramsTaken,
  kDatagramsWritten,
  kDatagramsRefused,  // answered with an ICMP error, or not, as there were too many
  kWrongDatagrams,    // dropped: their headers or their checksum are wrong
  kFlowsOpened,
  kFlowsOpen,
  kFlowsReplaced,   // for a newer one, as there were as many as may be
  kWholePackets,    // put together of fragments
  kWrongFragments,  // dropped: they overlap, or contradict each other
  kLostFragments,   // dropped: others of their packet did not come in time, or there were too many packets
  kDatagramCounters
};

// Takes the payloads out of UDP packets that a TUN device gave, super-packets (UDP_SEGMENT) included.
class DatagramTaker {
 public:
  // `prefix`: bytes before each packet, those of a VirtioNetHeader or none.
  DatagramTaker(FlowTable* flows, double* counters, size_t prefix)
      : flows_(flows), counters_(counters), prefix_(prefix) {}

  // Appends payloads of entries `start` to `end` of `batch` to `out`, and tells in `entries`, by their index
  // in `out`, where they come from and go to; there are `entry_count` of these. The packets are marked as
  // dropped. Returns the entry to go on with, which is `end` unless `out` is full.
  size_t Take(const BatchView& batch, size_t start, size_t end, uint64_t now, DatagramEntry* entries,
              size_t entry_count, Appender* out);

 private:
  struct Datagrams {
    const uint8_t* payload;
    size_t length;
    size_t segment;  // bytes of each datagram but the last
  };

  bool Read(uint8_t* bytes, size_t length, Datagrams* datagrams, DatagramEntry* entry);

  FlowTable* const flows_;
  double* const counters_;
  const size_t prefix_;
  FlowSource source_{};
  size_t taken_ = 0;  // bytes of the super-packet that the last call did not finish
};

// Makes UDP packets, with checksums, of payloads.
class DatagramWriter {
 public:
  // `super_packets`: whether the device takes them (UDP_SEGMENT); only with a prefix.
  DatagramWriter(FlowTable* flows, double* counters, size_t prefix, bool super_packets)
      : flows_(flows), counters_(counters), prefix_(prefix), super_packets_(super_packets && prefix != 0) {}

  // Appends packets for payloads `start` to the end of `batch` to `out`: payload i goes to the remote of
  // entries[i], and comes from its local address and port; the only entry, if `entry_count` is 1, is for all.
  // Each payload gets its status: 0; -EDESTADDRREQ without a remote; -EADDRNOTAVAIL without a local address
  // and port of the same family; -EMSGSIZE if it is too long. Returns the payload to go on with, which is
  // the batch's count unless `out` is full.
  size_t Write(const BatchView& batch, size_t start, uint64_t now, const DatagramEntry* entries,
               size_t entry_count, Appender* out);

 private:
  size_t Run(const BatchView& batch, size_t first, const DatagramEntry* entries, size_t entry_count) const;
  void Build(const DatagramEntry& entry, const BatchView& batch, size_t first, size_t last, uint8_t* out);

  FlowTable* const flows_;
  double* const counters_;
  const size_t prefix_;
  const bool super_packets_;
  uint16_t identification_ = 0;
};

// Answers datagrams with ICMP errors, so that their senders learn that nobody takes them.
class DatagramRefuser {
 public:
  DatagramRefuser(double* counters, size_t prefix) : counters_(counters), prefix_(prefix) {}

  // Appends an error to `out` that answers a datagram with this entry. None answers multicast, and there are
  // at most 1,000 a second.
  void Refuse(const DatagramEntry& entry, Unreachable why, uint64_t now, Appender* out);

 private:
  double* const counters_;
  const size_t prefix_;
  ReplyBudget budget_;
};

}  // namespace tuntap
