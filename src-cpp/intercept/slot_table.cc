#include "intercept/slot_table.h"

namespace tuntap {

ConnectionKey ConnectionKey::Of(const IpPacket& packet) {
  const uint8_t* const header = packet.header();
  return Of(packet.ipv4, {packet.source(), LoadAsIs<uint16_t>(header)},
            {packet.destination(), LoadAsIs<uint16_t>(header + 2)});
}

ConnectionKey ConnectionKey::Of(bool ipv4, const PacketEnd& source, const PacketEnd& destination) {
  ConnectionKey key{};
  const size_t length = ipv4 ? 4 : 16;
  std::memcpy(key.words, source.address, length);
  std::memcpy(key.words + 2, destination.address, length);
  key.words[4] = uint64_t{source.port} | uint64_t{destination.port} << 16 | uint64_t{ipv4 ? 4U : 6U} << 32;
  return key;
}

SlotTable::SlotTable() : hash_key_(HashKey::Random()), buckets_(kChunk, kNoValue) {
  first_generation_ = static_cast<uint32_t>(HashKey::Random().words[0] % kMaxGeneration);
}

size_t SlotTable::Bucket(const ConnectionKey& key) const {
  KeyedHash hash(hash_key_);
  for (const uint64_t word : key.words) hash.Add(word);
  return static_cast<size_t>(hash.Finish()) & (buckets_.size() - 1);
}

uint32_t SlotTable::Find(const ConnectionKey& key) const {
  uint32_t index = buckets_[Bucket(key)];
  while (index != kNoValue && !((*this)[index].key == key)) index = (*this)[index].chained;
  return index;
}

uint32_t SlotTable::Insert(const ConnectionKey& key, SlotState state, uint32_t now_ms) {
  uint32_t index = First(SlotState::kFree);
  if (index != kNoValue) {
    Detach(index);
  } else {
    if (size_ == kMaxSlots) return kNoValue;
    if (size_ == chunks_.size() * kChunk) chunks_.push_back(std::make_unique<Slot[]>(kChunk));
    index = static_cast<uint32_t>(size_++);
    (*this)[index].generation = first_generation_;
  }
  if (used_ == buckets_.size()) Rehash();
  Slot& slot = (*this)[index];
  const uint32_t generation = slot.generation % kMaxGeneration + 1;
  slot = Slot{};
  slot.key = key;
  slot.generation = generation;
  slot.seen_ms = now_ms;
  uint32_t& head = buckets_[Bucket(key)];
  slot.chained = head;
  head = index;
  used_++;
  Append(index, state, now_ms);
  return index;
}

void SlotTable::Remove(uint32_t index) {
  uint32_t* at = &buckets_[Bucket((*this)[index].key)];
  while (*at != index) at = &(*this)[*at].chained;
  *at = (*this)[index].chained;
  used_--;
  Move(index, SlotState::kFree, 0);
}

void SlotTable::Move(uint32_t index, SlotState state, uint32_t now_ms) {
  Detach(index);
  Append(index, state, now_ms);
}

void SlotTable::Append(uint32_t index, SlotState state, uint32_t now_ms) {
  List& list = lists_[static_cast<size_t>(state)];
  Slot& slot = (*this)[index];
  slot.state = state;
  slot.queued_ms = now_ms;
  slot.previous = list.last;
  slot.next = kNoValue;
  (list.last == kNoValue ? list.first : (*this)[list.last].next) = index;
  list.last = index;
  list.count++;
}

void SlotTable::Detach(uint32_t index) {
  const Slot& slot = (*this)[index];
  List& list = lists_[static_cast<size_t>(slot.state)];
  (slot.previous == kNoValue ? list.first : (*this)[slot.previous].next) = slot.next;
  (slot.next == kNoValue ? list.last : (*this)[slot.next].previous) = slot.previous;
  list.count--;
}

void SlotTable::Rehash() {
  buckets_.assign(2 * buckets_.size(), kNoValue);
  for (size_t i = 0; i < size_; i++) {
    const auto index = static_cast<uint32_t>(i);
    Slot& slot = (*this)[index];
    if (slot.state == SlotState::kFree) continue;
    uint32_t& head = buckets_[Bucket(slot.key)];
    slot.chained = head;
    head = index;
  }
}

}  // namespace tuntap
