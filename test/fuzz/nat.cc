// Feeds packets to a Nat as both sides give them, and decides as the input says. The input: a byte of
// options, then records of a byte that says what to do, two bytes of length, and a packet.

#include "../../src-cpp/intercept/nat.h"

#include <cstdlib>
#include <vector>

namespace {

using namespace tuntap;

struct Memory {
  alignas(8) uint8_t bytes[1 << 16];
  BatchView view;

  Memory() {
    auto* const header = reinterpret_cast<BatchHeader*>(bytes);
    *header = {};
    header->capacity = 32;
    header->end = sizeof(BatchHeader) + 32 * sizeof(BatchEntry);
    if (view.Map(bytes, sizeof(bytes)) != 0) std::abort();
  }
  void Clear() {
    view.header()->count = 0;
    view.header()->end = static_cast<uint32_t>(view.data_area());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  NatOptions options;
  options.prefix = data[0] & 1 ? 10 : 0;
  options.shared = (data[0] & 2) != 0;
  options.ipv4_port = options.ipv6_port = 0x5000;
  options.max_pending = 8;
  options.max_connections = 16;
  options.decision_ms = 1000;
  options.idle_ms = 10'000;
  Nat nat(options);
  const StackAddresses addresses(options.ipv4_port, options.ipv6_port);
  static Memory batch, client, stack;
  PacketRun runs[32];
  uint32_t now = 0;
  size_t at = 1;
  while (size - at >= 3) {
    const uint8_t what = data[at];
    const size_t length = size_t{data[at + 1]} | size_t{data[at + 2]} << 8;
    at += 3;
    if (length > size - at || length > 4096) break;
    batch.Clear();
    client.Clear();
    stack.Clear();
    Appender packets(batch.view, {}), to_client(client.view, {}), to_stack(stack.view, {});
    const NatOutput out{&to_client, &to_stack};
    uint8_t* const to = packets.Reserve(length);
    std::memcpy(to, data + at, length);
    packets.Commit(length);
    (void)packets.Finish(0);
    at += length;
    now += what & 0xf0;
    if (what & 1) {
      (void)nat.Translate(batch.view, runs, now, out);
    } else {
      nat.TranslateBack(batch.view, now, out);
    }
    NatEvent events[8];
    const size_t count = nat.TakeEvents(events, 8);
    for (size_t i = 0; i < count; i++) {
      if (events[i].kind != NatEventKind::kNew) continue;
      const auto how = static_cast<RefusalKind>(what >> 2 & 3);
      uint32_t slot = events[i].slot, generation = events[i].generation;
      const bool ipv4 = events[i].family == 4;
      uint8_t address[16];
      if (what & 2) {
        (void)nat.Accept(slot, generation, now, out);
        if (what & 4)
          (void)nat.Arrived(ipv4, addresses.Of(ipv4, slot, generation, address), now, &slot, &generation);
      } else if (what & 4) {
        (void)nat.Refuse(slot, generation, how, now, out);
      }
    }
    if (what & 8) (void)nat.Expire(now, out);
    if (nat.pending() > options.max_pending || nat.open() > options.max_connections) std::abort();
  }
  return 0;
}
