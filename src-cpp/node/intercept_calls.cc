#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "arguments.h"
#include "intercept/nat.h"
#include "linux/clocks.h"
#include "linux/uninterrupted.h"

// What JavaScript calls to translate intercepted connections. A connection is named by its slot and the
// slot's generation. Each call that can make packets is given two batches that it appends them to: those for
// the client, and those for the stack.

namespace tuntap {
namespace {

uint32_t Now() { return static_cast<uint32_t>(CoarseTime()); }

// Calls `use` with what appends packets to the batches, and makes these visible.
template <typename Use>
auto WithOutput(const BatchView& to_client, const BatchView& to_stack, Use use) {
  Appender client(to_client, Margins{});
  Appender stack(to_stack, Margins{});
  const auto result = use(NatOutput{&client, &stack});
  (void)client.Finish(0);
  (void)stack.Finish(0);
  return result;
}

// newNat(Uint32Array of prefix, shared, IPv4 port, IPv6 port, maxPending, maxConnections, decisionMs,
// idleMs): an External or -EINVAL.
Napi::Value NewNatCall(const Napi::CallbackInfo& info) {
  const auto [numbers, count] = Argument<Rows<uint32_t>>(info, 0);
  if (count != 8) return Result(info, -EINVAL);
  NatOptions options;
  options.prefix = numbers[0];
  options.shared = numbers[1] != 0;
  options.ipv4_port = htons(static_cast<uint16_t>(numbers[2]));
  options.ipv6_port = htons(static_cast<uint16_t>(numbers[3]));
  options.max_pending = numbers[4];
  options.max_connections = numbers[5];
  options.decision_ms = numbers[6];
  options.idle_ms = numbers[7];
  return Own(info.Env(), std::make_unique<Nat>(options));
}

constexpr int64_t kHasEvents = 0x10000;

// How many runs, and kHasEvents; or -errno.
int64_t Translate(Nat* nat, const BatchView& batch, Rows<PacketRun> runs, const BatchView& to_client,
                  const BatchView& to_stack) {
  if (runs.size < batch.count()) return -EINVAL;
  return WithOutput(to_client, to_stack, [&](const NatOutput& out) {
    const size_t count = nat->Translate(batch, runs.data, Now(), out);
    return static_cast<int64_t>(count) | (nat->has_events() ? kHasEvents : 0);
  });
}

// Whether there are events, or -errno.
int TranslateBack(Nat* nat, const BatchView& batch, const BatchView& to_client, const BatchView& to_stack) {
  return WithOutput(to_client, to_stack, [&](const NatOutput& out) {
    nat->TranslateBack(batch, Now(), out);
    return nat->has_events();
  });
}

// The batches that packets are appended to, and NatWords; JavaScript's, none of which is ever detached.
struct Shared {
  BatchView to_client;
  BatchView to_stack;
  uint32_t* words;
};

// Translates a batch and writes it. JavaScript hears of events, of packets that the Nat made, and of those
// that the kernel did not take.
Forwarded Carry(Nat* nat, const BatchView& batch, Descriptor* to, bool back, const Shared& shared) {
  shared.words[kNatWritten] = 0;
  BatchView to_client;
  BatchView to_stack;
  if (batch.count() == 0 || to->channel().fd() < 0 ||
      to_client.Map(shared.to_client.memory(), shared.to_client.size()) < 0 ||
      to_stack.Map(shared.to_stack.memory(), shared.to_stack.size()) < 0 ||
      !WithOutput(to_client, to_stack,
                  [&](const NatOutput& out) { return nat->TranslateSegments(batch, back, Now(), out); })) {
    return {};
  }
  size_t count = 0;
  for (size_t i = 0; i < batch.count(); i++) count += batch.entries()[i].length != kDropped;
  const Outcome before = batch.header()->outcome;
  to->channel().Write(batch, 0);
  const Outcome written = batch.header()->outcome;
  batch.Store(before);
  if (written.packets < count) {
    shared.words[kNatWritten] = 1;
    shared.words[kNatWrittenPackets] = written.packets;
    shared.words[kNatWrittenError] = static_cast<uint32_t>(written.error);
    return {true, true};
  }
  batch.Clear();
  return {nat->has_events() || to_client.count() > 0 || to_stack.count() > 0, count > 0};
}

// natCarry(nat, from, to, back, toClient, toStack, words): what `from` reads is translated and written to
// `to`, unless it has other packets than TCP's; null: no longer.
Napi::Value NatCarryCall(const Napi::CallbackInfo& info) {
  auto* const nat = Argument<Nat*>(info, 0);
  auto* const from = Argument<Descriptor*>(info, 1);
  if (info[2].IsNull()) {
    from->SetForwarder(nullptr, {}, nullptr);
    return Result(info, 0);
  }
  auto* const to = Argument<Descriptor*>(info, 2);
  const auto back = Argument<bool>(info, 3);
  const auto words = Argument<Rows<uint32_t>>(info, 6);
  if (words.size < kNatWords) return Result(info, -EINVAL);
  const Shared shared{Argument<BatchView>(info, 4), Argument<BatchView>(info, 5), words.data};
  const auto carry = [=](const BatchView& batch) { return Carry(nat, batch, to, back, shared); };
  from->SetForwarder(carry, KeptBy(info, {0, 2, 4, 5, 6}), to);
  return Result(info, 0);
}

// Whether there is more to end, for which there was no room, and kHasEvents; or -errno.
int64_t Expire(Nat* nat, const BatchView& to_client, const BatchView& to_stack) {
  return WithOutput(to_client, to_stack, [&](const NatOutput& out) {
    const bool left = nat->Expire(Now(), out);
    return static_cast<int64_t>(left) | (nat->has_events() ? kHasEvents : 0);
  });
}

// Whether connections are left, for which there was no room; or -errno.
int AbortAll(Nat* nat, const BatchView& to_client, const BatchView& to_stack) {
  return WithOutput(to_client, to_stack, [&](const NatOutput& out) { return nat->AbortSome(out); });
}

// Whether it was one to decide about, or -errno. The decision is a RefusalKind, kAccept, or kAbort, which
// ends an accepted connection.
int Decide(Nat* nat, uint32_t slot, uint32_t generation, uint32_t decision, const BatchView& to_client,
           const BatchView& to_stack) {
  constexpr uint32_t kAccept = 16;
  constexpr uint32_t kAbort = 17;
  return WithOutput(to_client, to_stack, [&](const NatOutput& out) {
    if (decision == kAccept) return nat->Accept(slot, generation, Now(), out);
    if (decision == kAbort) return nat->Abort(slot, generation, out);
    return decision <= static_cast<uint32_t>(RefusalKind::kSilence) &&
           nat->Refuse(slot, generation, static_cast<RefusalKind>(decision), Now(), out);
  });
}

// How many rows were filled, or -EINVAL.
int64_t Events(Nat* nat, Rows<NatEvent> rows) {
  return static_cast<int64_t>(nat->TakeEvents(rows.data, rows.size));
}

// Fills `out` with those of NatCounter, then how many wait and are open; 0 or -EINVAL.
int Counters(Nat* nat, Rows<double> out) {
  if (out.size < kNatCounters + 2) return -EINVAL;
  for (size_t i = 0; i < kNatCounters; i++) out.data[i] = static_cast<double>(nat->counters()[i]);
  out.data[kNatCounters] = static_cast<double>(nat->pending());
  out.data[kNatCounters + 1] = static_cast<double>(nat->open());
  return 0;
}

// Fills `out` with the bytes that client and server have sent; returns whether the connection is there.
bool Totals(Nat* nat, uint32_t slot, uint32_t generation, Rows<double> out) {
  return out.size >= 2 && nat->Totals(slot, generation, &out.data[0], &out.data[1]);
}

// The end that a sockaddr names; false for other families.
bool ReadEnd(const uint8_t* bytes, size_t size, bool* ipv4, PacketEnd* end) {
  if (size < sizeof(sockaddr_in6)) return false;
  const uint16_t family = LoadAsIs<uint16_t>(bytes);
  *ipv4 = family == AF_INET;
  *end = {bytes + (*ipv4 ? 4 : 8), LoadAsIs<uint16_t>(bytes + 2)};
  return *ipv4 || family == AF_INET6;
}

// Notes a connection of the interceptor by two sockaddrs, and fills `out` with its slot and generation;
// returns whether it could.
bool AddOwn(Nat* nat, Bytes local, Bytes remote, Rows<uint32_t> out) {
  bool ipv4 = false;
  bool same = false;
  PacketEnd source{};
  PacketEnd destination{};
  if (!ReadEnd(local.data, local.size, &ipv4, &source) ||
      !ReadEnd(remote.data, remote.size, &same, &destination) || ipv4 != same || out.size < 2) {
    return false;
  }
  out.data[0] = nat->AddOwn(ConnectionKey::Of(ipv4, source, destination), &out.data[1]);
  return out.data[0] != kNoValue;
}

int RemoveOwn(Nat* nat, uint32_t slot, uint32_t generation) {
  nat->RemoveOwn(slot, generation);
  return 0;
}

// The fd of a connection that the stack accepted, and in `out` its slot and generation; or -errno.
// Connections that have ended meanwhile are passed over.
int AcceptConnection(int listener, Nat* nat, Rows<uint32_t> out) {
  if (out.size < 2) return -EINVAL;
  for (;;) {
    uint8_t address[sizeof(sockaddr_in6)] = {};
    socklen_t size = sizeof(address);
    const auto fd = static_cast<int>(Uninterrupted([&] {
      return accept4(listener, reinterpret_cast<sockaddr*>(address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }));
    if (fd == -ECONNABORTED) continue;
    if (fd < 0) return fd;
    bool ipv4 = false;
    PacketEnd end{};
    if (ReadEnd(address, sizeof(address), &ipv4, &end) &&
        nat->Arrived(ipv4, end, Now(), &out.data[0], &out.data[1])) {
      return fd;
    }
    close(fd);
  }
}

int ListenSocket(int fd, int backlog) { return listen(fd, backlog) < 0 ? -errno : 0; }

}  // namespace

void RegisterInterceptCalls(Napi::Env env, Napi::Object exports) {
  Export<NewNatCall>(env, exports, "newNat");
  Export<Call<Translate>>(env, exports, "natTranslate");
  Export<Call<TranslateBack>>(env, exports, "natTranslateBack");
  Export<NatCarryCall>(env, exports, "natCarry");
  Export<Call<Expire>>(env, exports, "natExpire");
  Export<Call<AbortAll>>(env, exports, "natAbortAll");
  Export<Call<Decide>>(env, exports, "natDecide");
  Export<Call<Events>>(env, exports, "natEvents");
  Export<Call<Counters>>(env, exports, "natCounters");
  Export<Call<Totals>>(env, exports, "natTotals");
  Export<Call<AddOwn>>(env, exports, "natAddOwn");
  Export<Call<RemoveOwn>>(env, exports, "natRemoveOwn");
  Export<Call<ListenSocket>>(env, exports, "listenSocket");
  Export<Call<AcceptConnection>>(env, exports, "acceptConnection");
}

}  // namespace tuntap
