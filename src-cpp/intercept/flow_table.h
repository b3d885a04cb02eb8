#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "intercept/keyed_hash.h"

namespace tuntap {

// Who sends datagrams: an address, IPv4 or IPv6, and a port.
struct FlowSource {
  uint64_t words[3];  // the address's 16 bytes, then port and version

  static FlowSource Of(bool ipv6, const uint8_t* address, uint16_t port);
  bool operator==(const FlowSource& other) const {
    return words[0] == other.words[0] && words[1] == other.words[1] && words[2] == other.words[2];
  }
};

// The flows of datagrams, one for each source, wherever it sends to: RFC 4787 calls that endpoint-independent
// mapping. A flow has a slot, and an id that no other flow has had, so that a slot's next flow is told from
// the last one. Times are milliseconds of a clock that never goes back.
class FlowTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Limits {
    uint32_t flows;        // at once, 1 to 2^24
    uint64_t idle_ms;      // after its last datagram a flow goes,
    uint64_t question_ms;  // or sooner, if it has only asked DNS servers
  };
  struct Flow {
    uint32_t slot;
    uint32_t id;
  };

  FlowTable(const Limits& limits, const HashKey& hash_key);

  // A source has sent a datagram. Returns its flow, a new one if it has none. If there are as many as may be,
  // the new one takes the slot of the flow that has been idle for longest. `question`: it went to a DNS
  // server.
  Flow Sent(const FlowSource& source, bool question, uint64_t now);
  // A datagram was sent to a source: its flow, if it has one, stays.
  void Answered(const FlowSource& source, uint64_t now);
  // Removes the flow of a slot; false if it has none.
  bool Remove(uint32_t slot);
  // Removes flows that have been idle for too long: writes up to `room` of their slots, and returns how many.
  size_t Expire(uint64_t now, uint32_t* slots, size_t room);

  size_t size() const { return size_; }
  uint64_t created() const { return created_; }
  uint64_t replaced() const { return replaced_; }

 private:
  // Flows with one idle time, the longest idle first.
  enum Kind : uint8_t { kLasting, kQuestion, kKinds };
  struct Slot {
    FlowSource source;
    uint64_t seen;
    uint32_t id;
    uint32_t chain;  // the next one of this bucket, or of the free slots
    uint32_t earlier;
    uint32_t later;
    Kind kind;
    bool used;
  };
  struct List {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };

  uint32_t* Bucket(const FlowSource& source);
  uint32_t Find(const FlowSource& source);
  uint32_t LongestIdle() const;
  uint32_t TakeSlot();
  void Append(uint32_t slot, Kind kind, uint64_t now);
  void Unlink(uint32_t slot);

  const Limits limits_;
  const HashKey hash_key_;
  std::vector<uint32_t> buckets_;
  std::vector<Slot> slots_;  // grows to limits_.flows
  uint32_t free_ = kNone;
  List lists_[kKinds];
  size_t size_ = 0;
  uint64_t created_ = 0;
  uint64_t replaced_ = 0;
};

}  // namespace tuntap
