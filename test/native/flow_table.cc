// The table of flows against an obvious model, and its limits.

#include "../../src-cpp/intercept/flow_table.h"

#include <algorithm>
#include <vector>

#include "check.h"
#include "packets.h"

using namespace tuntap;

namespace {

FlowSource Source(uint32_t number, bool ipv6 = false) {
  uint8_t address[16] = {10, 0, static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16)};
  return FlowSource::Of(ipv6, address, static_cast<uint16_t>(number));
}

void HashIsSipHash() {
  // Made by OpenSSL 3: `openssl mac -macopt c-rounds:1 -macopt d-rounds:3 -macopt size:8
  // -macopt hexkey:000102030405060708090a0b0c0d0e0f SIPHASH` of the bytes 0 to 23.
  KeyedHash hash(HashKey{{0x0706050403020100, 0x0f0e0d0c0b0a0908}});
  for (const uint64_t word :
       {uint64_t{0x0706050403020100}, uint64_t{0x0f0e0d0c0b0a0908}, uint64_t{0x1716151413121110}})
    hash.Add(word);
  CHECK(hash.Finish() == 0xf464aeb267349c8c);
}

void OneFlowForEachSource() {
  FlowTable table({8, 120'000, 10'000}, {{1, 2}});
  const FlowTable::Flow first = table.Sent(Source(1), false, 0);
  CHECK(table.Sent(Source(1), false, 5).id == first.id);
  CHECK(table.Sent(Source(2), false, 5).slot != first.slot);
  CHECK(table.Sent(Source(1, true), false, 5).slot != first.slot, "an IPv6 source is another one");
  CHECK(table.size() == 3 && table.created() == 3 && table.replaced() == 0);
}

void IdleFlowsGo() {
  FlowTable table({8, 120'000, 10'000}, {{1, 2}});
  uint32_t slots[8];
  const uint32_t lasting = table.Sent(Source(1), false, 0).slot;
  const uint32_t question = table.Sent(Source(2), true, 0).slot;
  table.Sent(Source(3), true, 0);
  table.Sent(Source(3), false, 1);  // more than a question now
  table.Sent(Source(3), true, 2);
  CHECK(table.Expire(9'999, slots, 8) == 0);
  table.Answered(Source(2), 9'999);
  table.Answered(Source(99), 9'999);
  CHECK(table.Expire(19'998, slots, 8) == 0);
  CHECK(table.Expire(19'999, slots, 8) == 1 && slots[0] == question);
  CHECK(table.Expire(119'999, slots, 8) == 0);
  CHECK(table.Expire(120'002, slots, 1) == 1 && slots[0] == lasting, "only as many as there is room for");
  CHECK(table.Expire(120'002, slots, 8) == 1 && table.size() == 0);
  CHECK(!table.Remove(lasting) && !table.Remove(77) && !table.Remove(FlowTable::kNone));
}

void TheLongestIdleGoes() {
  FlowTable table({3, 120'000, 10'000}, {{1, 2}});
  table.Sent(Source(1), false, 0);
  const FlowTable::Flow second = table.Sent(Source(2), true, 1);
  table.Sent(Source(3), false, 2);
  table.Sent(Source(1), false, 3);
  const FlowTable::Flow fourth = table.Sent(Source(4), false, 4);
  CHECK(fourth.slot == second.slot && fourth.id != second.id && table.size() == 3 && table.replaced() == 1);
}

// Every flow that the model has is found, with the slot it had, after any mix of calls.
void Model(uint64_t seed) {
  struct Entry {
    uint32_t number;
    FlowTable::Flow flow;
    uint64_t seen;
  };
  Random random(seed);
  const uint32_t limit = 1 + random(60);
  FlowTable table({limit, 100, 100}, {{seed, ~seed}});
  std::vector<Entry> model;  // the longest idle first
  uint64_t now = 0;
  for (int step = 0; step < 5000; step++) {
    now += random(8);
    std::vector<uint32_t> slots(limit + 1);
    slots.resize(table.Expire(now, slots.data(), slots.size()));
    while (!model.empty() && now - model[0].seen >= 100) {
      const auto at = std::find(slots.begin(), slots.end(), model[0].flow.slot);
      CHECK(at != slots.end(), "step %d", step);
      slots.erase(at);
      model.erase(model.begin());
    }
    CHECK(slots.empty(), "step %d", step);
    const uint32_t number = random(100);
    const auto known =
        std::find_if(model.begin(), model.end(), [&](const Entry& e) { return e.number == number; });
    if (random(10) == 0) {
      if (known != model.end()) {
        CHECK(table.Remove(known->flow.slot));
        model.erase(known);
      }
    } else {
      const FlowTable::Flow flow = table.Sent(Source(number), random(2) == 0, now);
      if (known != model.end()) {
        CHECK(flow.slot == known->flow.slot && flow.id == known->flow.id, "step %d", step);
        model.erase(known);
      } else if (model.size() == limit) {
        // Of flows that are idle for equally long, either may go.
        const auto gone = std::find_if(model.begin(), model.end(),
                                       [&](const Entry& e) { return e.flow.slot == flow.slot; });
        CHECK(gone != model.end() && gone->seen == model[0].seen, "step %d", step);
        model.erase(gone);
      }
      model.push_back({number, flow, now});
    }
    CHECK(table.size() == model.size(), "step %d", step);
  }
}

void ManyFlows() {
  FlowTable table({65'536, 120'000, 10'000}, {{3, 4}});
  for (uint32_t i = 0; i < 200'000; i++) table.Sent(Source(i), false, i);
  CHECK(table.size() == 65'536 && table.replaced() == 200'000 - 65'536);
  std::vector<uint32_t> slots(65'537);
  CHECK(table.Expire(1'000'000, slots.data(), slots.size()) == 65'536 && table.size() == 0);
}

}  // namespace

int main() {
  HashIsSipHash();
  OneFlowForEachSource();
  IdleFlowsGo();
  TheLongestIdleGoes();
  for (uint64_t seed = 1; seed <= 20; seed++) Model(seed);
  ManyFlows();
  std::puts("flow_table: passed");
}
