#pragma once

#include <memory>
#include <vector>

#include "batch/layout.h"
#include "intercept/ip_packet.h"
#include "intercept/keyed_hash.h"
#include "intercept/rewrite.h"

namespace tuntap {

// Both ends of a connection as the client has them. IPv4 addresses are followed by zeros.
struct ConnectionKey {
  uint64_t words[5];  // source, destination; then the ports as they lie in memory, and the family

  static ConnectionKey Of(const IpPacket& packet);
  static ConnectionKey Of(bool ipv4, const PacketEnd& source, const PacketEnd& destination);

  bool operator==(const ConnectionKey& other) const {
    uint64_t difference = 0;
    for (size_t i = 0; i < 5; i++) difference |= words[i] ^ other.words[i];
    return difference == 0;
  }
  bool ipv4() const { return words[4] >> 32 == 4; }
  PacketEnd source() const {
    return {reinterpret_cast<const uint8_t*>(words), static_cast<uint16_t>(words[4])};
  }
  PacketEnd destination() const {
    return {reinterpret_cast<const uint8_t*>(words + 2), static_cast<uint16_t>(words[4] >> 16)};
  }
  size_t address_length() const { return ipv4() ? 4 : 16; }
};

// A slot is in the list of its state, which is ordered by when it came into it.
enum class SlotState : uint8_t {
  kFree,
  kPending,    // its SYN waits for a decision
  kOpening,    // the stack has its SYN
  kOpen,       // the stack's socket was accepted
  kClosing,    // as before; an end sent FIN
  kReset,      // as before; the client sent RST, which the stack may not have accepted
  kLingering,  // both ends have sent FIN
  kSilenced,   // refused without an answer; the SYNs that follow are dropped
  kOwn,        // a connection of the interceptor itself, which must not come back
};
constexpr size_t kSlotStates = 9;

// Whether the stack has a half of the connection.
inline bool IsAccepted(SlotState state) {
  return state >= SlotState::kOpening && state <= SlotState::kLingering;
}

struct Slot {
  ConnectionKey key;
  uint64_t client_bytes;  // that the stack acknowledged
  uint64_t server_bytes;
  uint32_t generation;  // how often the slot was taken, within kMaxGeneration
  uint32_t chained;     // the next slot with this hash
  uint32_t previous;    // in the list of its state
  uint32_t next;
  uint32_t seen_ms;    // its last packet
  uint32_t queued_ms;  // when it came into the list of its state
  uint32_t client_next;
  uint32_t server_next;
  uint32_t client_acknowledged;
  uint32_t server_acknowledged;
  uint32_t client_fin;    // what acknowledges the client's FIN
  ChecksumDeltas deltas;  // from the client to the stack
  SlotState state;
  uint8_t seen;     // SeenFlags
  uint16_t probes;  // since the client's last packet
};

enum SeenFlags : uint8_t { kClientFin = 1, kClientFinAccepted = 2, kServerFin = 4, kServerSyn = 8 };

constexpr size_t kSlotBits = 20;
constexpr size_t kMaxSlots = size_t{1} << kSlotBits;
constexpr uint32_t kMaxGeneration = 0x1fffe;

// The connections of an interceptor by index, and by their ends.
class SlotTable {
 public:
  SlotTable();

  Slot& operator[](uint32_t index) { return chunks_[index / kChunk][index % kChunk]; }
  const Slot& operator[](uint32_t index) const { return chunks_[index / kChunk][index % kChunk]; }
  bool Has(uint32_t index, uint32_t generation) const {
    return index < size_ && (*this)[index].generation == generation &&
           (*this)[index].state != SlotState::kFree;
  }

  // The slot of these ends, or kNoValue.
  uint32_t Find(const ConnectionKey& key) const;
  // Takes a slot, of a new generation; kNoValue if all are taken. The slot that was free for longest is next.
  uint32_t Insert(const ConnectionKey& key, SlotState state, uint32_t now_ms);
  void Remove(uint32_t index);
  // Puts a slot at the end of a state's list.
  void Move(uint32_t index, SlotState state, uint32_t now_ms);

  size_t Count(SlotState state) const { return lists_[static_cast<size_t>(state)].count; }
  // The slot that has been in this state for longest, or kNoValue.
  uint32_t First(SlotState state) const { return lists_[static_cast<size_t>(state)].first; }

 private:
  static constexpr size_t kChunk = 1024;
  struct List {
    uint32_t first = kNoValue;
    uint32_t last = kNoValue;
    size_t count = 0;
  };

  size_t Bucket(const ConnectionKey& key) const;
  void Append(uint32_t index, SlotState state, uint32_t now_ms);
  void Detach(uint32_t index);
  void Rehash();

  const HashKey hash_key_;
  std::vector<std::unique_ptr<Slot[]>> chunks_;
  size_t size_ = 0;  // slots that exist
  uint32_t first_generation_;
  std::vector<uint32_t> buckets_;
  size_t used_ = 0;
  List lists_[kSlotStates];
};

}  // namespace tuntap
