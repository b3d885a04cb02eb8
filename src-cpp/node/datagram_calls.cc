#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "intercept/datagrams.h"
#include "intercept/reassembly.h"
#include "linux/clocks.h"

// What JavaScript calls to take datagrams out of intercepted packets, and to make packets of datagrams.

namespace tuntap {
namespace {

struct Datagrams {
  Datagrams(const FlowTable::Limits& limits, size_t packet_prefix, bool super_packets)
      : prefix(packet_prefix),
        flows(limits, HashKey::Random()),
        taker(&flows, counters, prefix),
        writer(&flows, counters, prefix, super_packets),
        refuser(counters, prefix) {}

  const size_t prefix;
  double counters[kDatagramCounters] = {};
  FlowTable flows;
  DatagramTaker taker;
  DatagramWriter writer;
  DatagramRefuser refuser;
  Reassembly reassembly;
};

// newDatagrams(Uint32Array of prefix, superPackets, maxFlows, idleMs, questionMs): an External or -EINVAL.
Napi::Value NewDatagramsCall(const Napi::CallbackInfo& info) {
  const auto [numbers, count] = Argument<Rows<uint32_t>>(info, 0);
  if (count != 5 || (numbers[0] != 0 && numbers[0] != sizeof(VirtioNetHeader)) || numbers[2] == 0) {
    return Result(info, -EINVAL);
  }
  const FlowTable::Limits limits = {numbers[2], numbers[3], numbers[4]};
  return Own(info.Env(), std::make_unique<Datagrams>(limits, numbers[0], numbers[1] != 0));
}

// The packet to go on with, or -errno. `payloads` gets what they carry.
int64_t TakeOut(Datagrams* datagrams, const BatchView& batch, uint32_t start, uint32_t end,
                Rows<DatagramEntry> entries, const BatchView& payloads) {
  if (start > end || end > batch.count()) return -EINVAL;
  Appender out(payloads, {});
  const size_t next =
      datagrams->taker.Take(batch, start, end, CoarseTime(), entries.data, entries.size, &out);
  (void)out.Finish(0);
  return static_cast<int64_t>(next);
}

// The payload to go on with, or -errno.
int64_t Build(Datagrams* datagrams, const BatchView& payloads, uint32_t start, Rows<DatagramEntry> entries,
              const BatchView& packets) {
  if (start > payloads.count()) return -EINVAL;
  Appender out(packets, {});
  const size_t next =
      datagrams->writer.Write(payloads, start, CoarseTime(), entries.data, entries.size, &out);
  (void)out.Finish(0);
  return static_cast<int64_t>(next);
}

// The reason is an Unreachable. 0 or -errno.
int Refuse(Datagrams* datagrams, Rows<DatagramEntry> entries, uint32_t index, uint32_t reason,
           const BatchView& packets) {
  if (index >= entries.size || reason > static_cast<uint32_t>(Unreachable::kProhibited)) return -EINVAL;
  Appender out(packets, {});
  datagrams->refuser.Refuse(entries.data[index], static_cast<Unreachable>(reason), CoarseTime(), &out);
  (void)out.Finish(0);
  return 0;
}

void AddFragment(Datagrams* datagrams, uint8_t* bytes, size_t length, Appender* out) {
  const size_t prefix = datagrams->prefix;
  const uint8_t* whole = nullptr;
  size_t whole_length = 0;
  const Reassembly::Outcome outcome =
      length > prefix
          ? datagrams->reassembly.Add(bytes + prefix, length - prefix, CoarseTime(), &whole, &whole_length)
          : Reassembly::Outcome::kWrong;
  if (outcome == Reassembly::Outcome::kWrong) datagrams->counters[kWrongFragments]++;
  if (outcome != Reassembly::Outcome::kWhole) return;
  uint8_t* const to = out->Reserve(prefix + whole_length);
  datagrams->counters[to == nullptr ? kLostFragments : kWholePackets]++;
  if (to == nullptr) return;
  std::memset(to, 0, prefix);
  std::memcpy(to + prefix, whole, whole_length);
  out->Commit(prefix + whole_length);
}

// Puts fragments together, drops them, and appends whole packets to `wholes`. 0 or -errno.
int AddFragments(Datagrams* datagrams, const BatchView& batch, uint32_t start, uint32_t end,
                 const BatchView& wholes) {
  if (start > end || end > batch.count()) return -EINVAL;
  Appender out(wholes, {});
  for (size_t i = start; i < end; i++) {
    BatchEntry& entry = batch.entries()[i];
    const bool valid = batch.Contains(entry.offset, entry.length);
    if (entry.length != kDropped)
      AddFragment(datagrams, batch.memory() + entry.offset, valid ? entry.length : 0, &out);
    entry.length = kDropped;
  }
  (void)out.Finish(0);
  return 0;
}

// Ends flows that were idle for too long, and fills `slots` with theirs. How many, or -errno; those that
// there is no room for come with the next call.
int64_t Expire(Datagrams* datagrams, Rows<uint32_t> slots) {
  datagrams->reassembly.Expire(CoarseTime());
  return static_cast<int64_t>(datagrams->flows.Expire(CoarseTime(), slots.data, slots.size));
}

// Whether there was one.
int RemoveFlow(Datagrams* datagrams, uint32_t slot) { return datagrams->flows.Remove(slot); }

// Fills `out` with the numbers of DatagramCounter. 0 or -EINVAL.
int Counters(Datagrams* datagrams, Rows<double> out) {
  if (out.size < kDatagramCounters) return -EINVAL;
  std::memcpy(out.data, datagrams->counters, sizeof(datagrams->counters));
  out.data[kFlowsOpened] = static_cast<double>(datagrams->flows.created());
  out.data[kFlowsOpen] = static_cast<double>(datagrams->flows.size());
  out.data[kFlowsReplaced] = static_cast<double>(datagrams->flows.replaced());
  out.data[kLostFragments] += static_cast<double>(datagrams->reassembly.lost());
  return 0;
}

}  // namespace

void RegisterDatagramCalls(Napi::Env env, Napi::Object exports) {
  Export<NewDatagramsCall>(env, exports, "newDatagrams");
  Export<Call<TakeOut>>(env, exports, "takeDatagrams");
  Export<Call<Build>>(env, exports, "buildDatagrams");
  Export<Call<Refuse>>(env, exports, "refuseDatagram");
  Export<Call<AddFragments>>(env, exports, "addFragments");
  Export<Call<Expire>>(env, exports, "expireFlows");
  Export<Call<RemoveFlow>>(env, exports, "removeFlow");
  Export<Call<Counters>>(env, exports, "datagramCounters");
}

}  // namespace tuntap
