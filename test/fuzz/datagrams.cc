// Feeds packets to what takes datagrams out and puts fragments together. The input: a byte of options, then
// records of two bytes of length and a packet. A whole packet is taken apart as one that came.

#include "../../src-cpp/intercept/datagrams.h"

#include <cstdlib>

#include "../../src-cpp/intercept/reassembly.h"

namespace {

using namespace tuntap;

constexpr size_t kCapacity = 64;

struct Memory {
  alignas(8) uint8_t bytes[1 << 18];
  BatchView view;

  Memory() {
    auto* const header = reinterpret_cast<BatchHeader*>(bytes);
    *header = {};
    header->capacity = kCapacity;
    Clear();
    if (view.Map(bytes, sizeof(bytes)) != 0) std::abort();
  }
  void Clear() {
    auto* const header = reinterpret_cast<BatchHeader*>(bytes);
    header->count = 0;
    header->end = static_cast<uint32_t>(sizeof(BatchHeader) + kCapacity * sizeof(BatchEntry));
  }
  void Push(const uint8_t* packet, size_t length) {
    Appender out(view, {});
    uint8_t* const to = out.Reserve(length);
    if (to == nullptr) return;
    std::memcpy(to, packet, length);
    out.Commit(length);
    (void)out.Finish(0);
  }
};

Memory packets;
Memory payloads;
Memory answers;
DatagramEntry entries[kCapacity];

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t prefix = data[0] & 1 ? sizeof(VirtioNetHeader) : 0;
  double counters[kDatagramCounters] = {};
  FlowTable flows({8, 1000, 100}, HashKey{{1, 2}});
  DatagramTaker taker(&flows, counters, prefix);
  DatagramWriter writer(&flows, counters, prefix, (data[0] & 2) != 0);
  DatagramRefuser refuser(counters, prefix);
  const auto reassembly = std::make_unique<Reassembly>();
  uint64_t now = 0;
  for (size_t at = 1; at + 2 <= size; now += 50) {
    const size_t length = std::min<size_t>(Load16(data + at), size - at - 2);
    packets.Clear();
    packets.Push(data + at + 2, length);
    at += 2 + length;
    if (length > prefix && packets.view.count() == 1) {
      const uint8_t* whole = nullptr;
      size_t whole_length = 0;
      uint8_t* const fragment = packets.view.memory() + packets.view.entries()[0].offset + prefix;
      const auto outcome = reassembly->Add(fragment, length - prefix, now, &whole, &whole_length);
      if (outcome == Reassembly::Outcome::kWhole && prefix == 0) packets.Push(whole, whole_length);
    }
    for (size_t next = 0; next < packets.view.count();) {
      payloads.Clear();
      Appender out(payloads.view, {});
      next = taker.Take(packets.view, next, packets.view.count(), now, entries, kCapacity, &out);
      (void)out.Finish(0);
      // What came out goes back in, and each datagram gets an error.
      answers.Clear();
      Appender back(answers.view, {});
      const size_t count = payloads.view.count();
      if (count > 0) (void)writer.Write(payloads.view, 0, now, entries, kCapacity, &back);
      for (size_t i = 0; i < count; i++) refuser.Refuse(entries[i], Unreachable::kPort, now, &back);
      (void)back.Finish(0);
    }
    uint32_t slots[8];
    if (flows.Expire(now, slots, 8) > 8 || flows.size() > 8) std::abort();
  }
  return 0;
}
