#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

#include "arguments.h"
#include "intercept/nat.h"
#include "linux/uninterrupted.h"

// What JavaScript calls to translate intercepted connections. A connection is named by its slot and the
// slot's generation. Each call that can make packets is given two batches that it appends them to: those for
// the client, and those for the stack.

namespace tuntap {
namespace {

uint32_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint32_t>(static_cast<uint64_t>(now.tv_sec) * 1000 +
                               static_cast<uint64_t>(now.tv_nsec) / 1'000'000);
}

// The batches that packets are appended to. Finish() makes them visible.
class Output {
 public:
  // Returns 0 or -errno.
  int Take(napi_env env, napi_value client, napi_value stack) {
    const int error = TakeBatch(env, client, &client_batch_);
    if (error < 0) return error;
    const int other = TakeBatch(env, stack, &stack_batch_);
    if (other < 0) return other;
    client_ = std::make_unique<Appender>(client_batch_, Margins{});
    stack_ = std::make_unique<Appender>(stack_batch_, Margins{});
    return 0;
  }
  NatOutput get() const { return {client_.get(), stack_.get()}; }
  void Finish() {
    (void)client_->Finish(0);
    (void)stack_->Finish(0);
  }

 private:
  BatchView client_batch_;
  BatchView stack_batch_;
  std::unique_ptr<Appender> client_;
  std::unique_ptr<Appender> stack_;
};

// (nat, …, toClient, toStack), of `kCount` arguments.
template <size_t kCount>
struct NatArguments {
  napi_value values[kCount];
  Nat* nat = nullptr;
  Output out;

  int Take(napi_env env, napi_callback_info info) {
    if (!TakeArguments(env, info, values)) return -EINVAL;
    nat = ExternalOf<Nat>(env, values[0]);
    return nat == nullptr ? -EINVAL : out.Take(env, values[kCount - 2], values[kCount - 1]);
  }
};

// newNat(Uint32Array of prefix, shared, IPv4 port, IPv6 port, maxPending, maxConnections, decisionMs,
// idleMs): an External or -EINVAL.
Napi::Value NewNatCall(const Napi::CallbackInfo& info) {
  uint32_t numbers[8];
  const uint8_t* const given = BytesOf(info.Env(), info[0], sizeof(numbers));
  if (given == nullptr) return Result(info, -EINVAL);
  std::memcpy(numbers, given, sizeof(numbers));
  NatOptions options;
  options.prefix = numbers[0];
  options.shared = numbers[1] != 0;
  options.ipv4_port = htons(static_cast<uint16_t>(numbers[2]));
  options.ipv6_port = htons(static_cast<uint16_t>(numbers[3]));
  options.max_pending = numbers[4];
  options.max_connections = numbers[5];
  options.decision_ms = numbers[6];
  options.idle_ms = numbers[7];
  return Napi::External<Nat>::New(info.Env(), new Nat(options),
                                  [](Napi::Env, Nat* unused) { delete unused; });
}

constexpr int64_t kHasEvents = 0x10000;

// natTranslate(nat, memory, runs, toClient, toStack): how many runs, and kHasEvents; or -errno.
napi_value TranslateCall(napi_env env, napi_callback_info info) {
  NatArguments<5> given;
  BatchView batch;
  int error = given.Take(env, info);
  if (error == 0) error = TakeBatch(env, given.values[1], &batch);
  if (error < 0) return RawResult(env, error);
  auto* const runs =
      reinterpret_cast<PacketRun*>(BytesOf(env, given.values[2], batch.count() * sizeof(PacketRun)));
  if (runs == nullptr) return RawResult(env, -EINVAL);
  const size_t count = given.nat->Translate(batch, runs, Now(), given.out.get());
  given.out.Finish();
  return RawResult(env, static_cast<int64_t>(count) | (given.nat->has_events() ? kHasEvents : 0));
}

// natTranslateBack(nat, memory, toClient, toStack): whether there are events, or -errno.
napi_value TranslateBackCall(napi_env env, napi_callback_info info) {
  NatArguments<4> given;
  BatchView batch;
  int error = given.Take(env, info);
  if (error == 0) error = TakeBatch(env, given.values[1], &batch);
  if (error < 0) return RawResult(env, error);
  given.nat->TranslateBack(batch, Now(), given.out.get());
  given.out.Finish();
  return RawResult(env, given.nat->has_events());
}

// natExpire(nat, toClient, toStack): whether there are events, or -errno.
napi_value ExpireCall(napi_env env, napi_callback_info info) {
  NatArguments<3> given;
  const int error = given.Take(env, info);
  if (error < 0) return RawResult(env, error);
  given.nat->Expire(Now(), given.out.get());
  given.out.Finish();
  return RawResult(env, given.nat->has_events());
}

// natAbortAll(nat, toClient, toStack): whether connections are left, for which there was no room; or -errno.
napi_value AbortAllCall(napi_env env, napi_callback_info info) {
  NatArguments<3> given;
  const int error = given.Take(env, info);
  if (error < 0) return RawResult(env, error);
  const bool left = given.nat->AbortSome(given.out.get());
  given.out.Finish();
  return RawResult(env, left);
}

// natDecide(nat, slot, generation, decision, toClient, toStack): whether it was one to decide about, or
// -errno. The decision is a RefusalKind, kAccept, or kAbort, which ends an accepted connection.
napi_value DecideCall(napi_env env, napi_callback_info info) {
  constexpr uint32_t kAccept = 16;
  constexpr uint32_t kAbort = 17;
  NatArguments<6> given;
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint32_t decision = 0;
  int error = given.Take(env, info);
  if (error < 0) return RawResult(env, error);
  if (!TakeUint(env, given.values[1], &slot) || !TakeUint(env, given.values[2], &generation) ||
      !TakeUint(env, given.values[3], &decision)) {
    return RawResult(env, -EINVAL);
  }
  const NatOutput out = given.out.get();
  bool done = false;
  if (decision == kAccept) {
    done = given.nat->Accept(slot, generation, Now(), out);
  } else if (decision == kAbort) {
    done = given.nat->Abort(slot, generation, out);
  } else if (decision <= static_cast<uint32_t>(RefusalKind::kSilence)) {
    done = given.nat->Refuse(slot, generation, static_cast<RefusalKind>(decision), Now(), out);
  }
  given.out.Finish();
  return RawResult(env, done);
}

Nat& NatOf(const Napi::CallbackInfo& info) { return *info[0].As<Napi::External<Nat>>().Data(); }

// natEvents(nat, rows): how many rows of NatEvent were filled, or -EINVAL.
Napi::Value EventsCall(const Napi::CallbackInfo& info) {
  auto rows = info[1].As<Napi::Uint8Array>();
  auto* const events = reinterpret_cast<NatEvent*>(rows.Data());
  if (reinterpret_cast<uintptr_t>(events) % alignof(NatEvent) != 0) return Result(info, -EINVAL);
  return Result(info, static_cast<int>(NatOf(info).TakeEvents(events, rows.ByteLength() / sizeof(NatEvent))));
}

// natCounters(nat, out): fills a Float64Array with those of NatCounter, then how many wait and are open; 0 or
// -EINVAL.
Napi::Value CountersCall(const Napi::CallbackInfo& info) {
  auto out = info[1].As<Napi::Float64Array>();
  const Nat& nat = NatOf(info);
  if (out.ElementLength() < kNatCounters + 2) return Result(info, -EINVAL);
  for (size_t i = 0; i < kNatCounters; i++) out[i] = static_cast<double>(nat.counters()[i]);
  out[kNatCounters] = static_cast<double>(nat.pending());
  out[kNatCounters + 1] = static_cast<double>(nat.open());
  return Result(info, 0);
}

// natTotals(nat, slot, generation, out): fills a Float64Array with the bytes that client and server have
// sent; returns whether the connection is there.
Napi::Value TotalsCall(const Napi::CallbackInfo& info) {
  auto out = info[3].As<Napi::Float64Array>();
  const bool found =
      out.ElementLength() >= 2 && NatOf(info).Totals(Argument<uint32_t>(info, 1), Argument<uint32_t>(info, 2),
                                                     &out.Data()[0], &out.Data()[1]);
  return Napi::Boolean::New(info.Env(), found);
}

// The end that a sockaddr names; false for other families.
bool ReadEnd(const uint8_t* bytes, size_t size, bool* ipv4, PacketEnd* end) {
  if (size < sizeof(sockaddr_in6)) return false;
  const uint16_t family = LoadAsIs<uint16_t>(bytes);
  *ipv4 = family == AF_INET;
  *end = {bytes + (*ipv4 ? 4 : 8), LoadAsIs<uint16_t>(bytes + 2)};
  return *ipv4 || family == AF_INET6;
}

// natAddOwn(nat, local, remote, out): notes a connection of the interceptor by two sockaddrs, and fills
// `out`, a Uint32Array, with its slot and generation; returns whether it could.
Napi::Value AddOwnCall(const Napi::CallbackInfo& info) {
  const auto [local, local_size] = Argument<Bytes>(info, 1);
  const auto [remote, remote_size] = Argument<Bytes>(info, 2);
  auto out = info[3].As<Napi::Uint32Array>();
  bool ipv4 = false;
  bool same = false;
  PacketEnd source{};
  PacketEnd destination{};
  uint32_t generation = 0;
  if (!ReadEnd(local, local_size, &ipv4, &source) || !ReadEnd(remote, remote_size, &same, &destination) ||
      ipv4 != same || out.ElementLength() < 2) {
    return Napi::Boolean::New(info.Env(), false);
  }
  const uint32_t slot = NatOf(info).AddOwn(ConnectionKey::Of(ipv4, source, destination), &generation);
  out[0] = slot;
  out[1] = generation;
  return Napi::Boolean::New(info.Env(), slot != kNoValue);
}

// natRemoveOwn(nat, slot, generation)
Napi::Value RemoveOwnCall(const Napi::CallbackInfo& info) {
  NatOf(info).RemoveOwn(Argument<uint32_t>(info, 1), Argument<uint32_t>(info, 2));
  return info.Env().Undefined();
}

// acceptConnection(fd, nat, out): the fd of a connection that the stack accepted, and in `out` its slot and
// generation; or -errno. Connections that have ended meanwhile are passed over.
Napi::Value AcceptConnectionCall(const Napi::CallbackInfo& info) {
  const int listener = Argument<int>(info, 0);
  const Nat& nat = *info[1].As<Napi::External<Nat>>().Data();
  auto out = info[2].As<Napi::Uint32Array>();
  if (out.ElementLength() < 2) return Result(info, -EINVAL);
  for (;;) {
    uint8_t address[sizeof(sockaddr_in6)] = {};
    socklen_t size = sizeof(address);
    const auto fd = static_cast<int>(Uninterrupted([&] {
      return accept4(listener, reinterpret_cast<sockaddr*>(address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }));
    if (fd == -ECONNABORTED) continue;
    if (fd < 0) return Result(info, fd);
    bool ipv4 = false;
    PacketEnd end{};
    uint32_t slot = 0;
    uint32_t generation = 0;
    if (ReadEnd(address, sizeof(address), &ipv4, &end) && nat.FindAccepted(ipv4, end, &slot, &generation)) {
      out[0] = slot;
      out[1] = generation;
      return Result(info, fd);
    }
    close(fd);
  }
}

// listenSocket(fd, backlog): 0 or -errno.
int ListenSocket(int fd, int backlog) { return listen(fd, backlog) < 0 ? -errno : 0; }

}  // namespace

void RegisterInterceptCalls(Napi::Env env, Napi::Object exports) {
  Export<NewNatCall>(env, exports, "newNat");
  ExportRaw(env, exports, "natTranslate", TranslateCall);
  ExportRaw(env, exports, "natTranslateBack", TranslateBackCall);
  ExportRaw(env, exports, "natExpire", ExpireCall);
  ExportRaw(env, exports, "natAbortAll", AbortAllCall);
  ExportRaw(env, exports, "natDecide", DecideCall);
  Export<EventsCall>(env, exports, "natEvents");
  Export<CountersCall>(env, exports, "natCounters");
  Export<TotalsCall>(env, exports, "natTotals");
  Export<AddOwnCall>(env, exports, "natAddOwn");
  Export<RemoveOwnCall>(env, exports, "natRemoveOwn");
  Export<NumberCall<ListenSocket>>(env, exports, "listenSocket");
  Export<AcceptConnectionCall>(env, exports, "acceptConnection");
}

}  // namespace tuntap
