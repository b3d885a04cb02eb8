#include "intercept/flow_table.h"

#include <algorithm>
#include <cstring>

namespace tuntap {
namespace {

size_t BucketCount(uint32_t flows) {
  size_t count = 64;
  while (count < flows) count *= 2;
  return count;
}

}  // namespace

FlowSource FlowSource::Of(bool ipv6, const uint8_t* address, uint16_t port) {
  FlowSource source{};
  std::memcpy(source.words, address, ipv6 ? 16 : 4);
  source.words[2] = uint64_t{port} << 8 | (ipv6 ? 6 : 4);
  return source;
}

FlowTable::FlowTable(const Limits& limits, const HashKey& hash_key)
    : limits_(limits), hash_key_(hash_key), buckets_(BucketCount(limits.flows), kNone) {}

uint32_t* FlowTable::Bucket(const FlowSource& source) {
  KeyedHash hash(hash_key_);
  for (const uint64_t word : source.words) hash.Add(word);
  return &buckets_[hash.Finish() & (buckets_.size() - 1)];
}

uint32_t FlowTable::Find(const FlowSource& source) {
  uint32_t slot = *Bucket(source);
  while (slot != kNone && !(slots_[slot].source == source)) slot = slots_[slot].chain;
  return slot;
}

uint32_t FlowTable::LongestIdle() const {
  const uint32_t lasting = lists_[kLasting].first;
  const uint32_t question = lists_[kQuestion].first;
  if (lasting == kNone || question == kNone) return std::min(lasting, question);
  return slots_[lasting].seen <= slots_[question].seen ? lasting : question;
}

uint32_t FlowTable::TakeSlot() {
  if (size_ == limits_.flows) {
    replaced_++;
    Remove(LongestIdle());
  }
  if (free_ == kNone) {
    slots_.push_back({});
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t slot = free_;
  free_ = slots_[slot].chain;
  return slot;
}

void FlowTable::Append(uint32_t slot, Kind kind, uint64_t now) {
  List& list = lists_[kind];
  slots_[slot].kind = kind;
  slots_[slot].seen = now;
  slots_[slot].earlier = list.last;
  slots_[slot].later = kNone;
  (list.last == kNone ? list.first : slots_[list.last].later) = slot;
  list.last = slot;
}

void FlowTable::Unlink(uint32_t slot) {
  const Slot& from = slots_[slot];
  List& list = lists_[from.kind];
  (from.earlier == kNone ? list.first : slots_[from.earlier].later) = from.later;
  (from.later == kNone ? list.last : slots_[from.later].earlier) = from.earlier;
}

FlowTable::Flow FlowTable::Sent(const FlowSource& source, bool question, uint64_t now) {
  uint32_t slot = Find(source);
  if (slot != kNone) {
    const Kind kind = question ? slots_[slot].kind : kLasting;
    Unlink(slot);
    Append(slot, kind, now);
    return {slot, slots_[slot].id};
  }
  slot = TakeSlot();
  uint32_t* const bucket = Bucket(source);
  slots_[slot].source = source;
  slots_[slot].chain = *bucket;
  slots_[slot].id = static_cast<uint32_t>(++created_);
  slots_[slot].used = true;
  *bucket = slot;
  size_++;
  Append(slot, question ? kQuestion : kLasting, now);
  return {slot, slots_[slot].id};
}

void FlowTable::Answered(const FlowSource& source, uint64_t now) {
  const uint32_t slot = Find(source);
  if (slot == kNone) return;
  Unlink(slot);
  Append(slot, slots_[slot].kind, now);
}

bool FlowTable::Remove(uint32_t slot) {
  if (slot >= slots_.size() || !slots_[slot].used) return false;
  Unlink(slot);
  uint32_t* link = Bucket(slots_[slot].source);
  while (*link != slot) link = &slots_[*link].chain;
  *link = slots_[slot].chain;
  slots_[slot].used = false;
  slots_[slot].chain = free_;
  free_ = slot;
  size_--;
  return true;
}

size_t FlowTable::Expire(uint64_t now, uint32_t* slots, size_t room) {
  size_t count = 0;
  for (const Kind kind : {kLasting, kQuestion}) {
    const uint64_t idle = kind == kLasting ? limits_.idle_ms : limits_.question_ms;
    const List& list = lists_[kind];
    while (count < room && list.first != kNone && now - slots_[list.first].seen >= idle) {
      slots[count++] = list.first;
      Remove(list.first);
    }
  }
  return count;
}

}  // namespace tuntap
