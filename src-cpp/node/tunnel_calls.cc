#include <cerrno>
#include <cstring>
#include <ctime>

#include "arguments.h"
#include "tunnel/session_table.h"

// What JavaScript calls to find the peers and sessions of a batch's packets.

namespace tuntap {
namespace {

// What runsByDestination and openSessions are both given: (table, memory, start, end, runs, …).
struct RunArguments {
  BatchView batch;
  uint32_t start = 0;
  uint32_t end = 0;
  PacketRun* runs = nullptr;

  // Returns 0, or -errno if the arguments don't fit together.
  int Take(napi_env env, const napi_value* arguments) {
    if (!TakeUint(env, arguments[2], &start) || !TakeUint(env, arguments[3], &end)) return -EINVAL;
    const int error = TakeBatch(env, arguments[1], &batch);
    if (error < 0) return error;
    if (start > end || end > batch.count()) return -EINVAL;
    runs = reinterpret_cast<PacketRun*>(BytesOf(env, arguments[4], (end - start) * sizeof(PacketRun)));
    return runs != nullptr || start == end ? 0 : -EINVAL;
  }
};

// newPrefixTable(): an External.
Napi::Value NewPrefixTableCall(const Napi::CallbackInfo& info) {
  return Napi::External<PrefixTable>::New(info.Env(), new PrefixTable,
                                          [](Napi::Env, PrefixTable* unused) { delete unused; });
}

// The family's trie, and the address, of (table, address of 4 or 16 bytes, …); false for other sizes.
struct PrefixArguments {
  PrefixTrie* trie = nullptr;
  AddressBits address;
  size_t bits = 0;

  [[nodiscard]] bool Take(const Napi::CallbackInfo& info) {
    PrefixTable* const table = info[0].As<Napi::External<PrefixTable>>().Data();
    const auto bytes = info[1].As<Napi::Uint8Array>();
    if (bytes.ByteLength() != 4 && bytes.ByteLength() != 16) return false;
    const bool ipv4 = bytes.ByteLength() == 4;
    trie = ipv4 ? &table->ipv4 : &table->ipv6;
    address = ipv4 ? AddressBits::OfIpv4(bytes.Data()) : AddressBits::OfIpv6(bytes.Data());
    bits = 8 * bytes.ByteLength();
    return true;
  }
};

// setPrefix(table, address, length, value): the value that it had, or 2^32 - 1; -EINVAL for what is no
// prefix.
Napi::Value SetPrefixCall(const Napi::CallbackInfo& info) {
  PrefixArguments given;
  const uint32_t length = info[2].As<Napi::Number>().Uint32Value();
  const uint32_t value = info[3].As<Napi::Number>().Uint32Value();
  if (!given.Take(info) || length > given.bits) return Result(info, -EINVAL);
  return Napi::Number::New(info.Env(), given.trie->Set(given.address, length, value));
}

// removePrefix(table, address, length): the same.
Napi::Value RemovePrefixCall(const Napi::CallbackInfo& info) {
  PrefixArguments given;
  const uint32_t length = info[2].As<Napi::Number>().Uint32Value();
  if (!given.Take(info) || length > given.bits) return Result(info, -EINVAL);
  return Napi::Number::New(info.Env(), given.trie->Remove(given.address, length));
}

// lookupPrefix(table, address): the value of the longest prefix, or 2^32 - 1.
Napi::Value LookupPrefixCall(const Napi::CallbackInfo& info) {
  PrefixArguments given;
  if (!given.Take(info)) return Result(info, -EINVAL);
  return Napi::Number::New(info.Env(), given.trie->Lookup(given.address));
}

// runsByDestination(table, memory, start, end, runs): how many runs, or -errno.
napi_value RunsByDestinationCall(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  RunArguments given;
  if (!TakeArguments(env, info, arguments)) return RawResult(env, -EINVAL);
  const auto* const table = ExternalOf<PrefixTable>(env, arguments[0]);
  const int error = table == nullptr ? -EINVAL : given.Take(env, arguments);
  if (error < 0) return RawResult(env, error);
  const size_t runs = RunsByDestination(given.batch, given.start, given.end, *table, given.runs);
  return RawResult(env, static_cast<int64_t>(runs));
}

// newSessionTable(cipher, layout, indexOffset, type, counterLimit): an External or -errno. The layout is that
// of newAead().
Napi::Value NewSessionTableCall(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  SessionLayout layout{};
  const uint8_t* const numbers = BytesOf(env, info[1], sizeof(layout.aead));
  if (numbers == nullptr) return Result(info, -EINVAL);
  memcpy(&layout.aead, numbers, sizeof(layout.aead));
  layout.index_offset = info[2].As<Napi::Number>().Uint32Value();
  layout.type = info[3].As<Napi::Number>().Uint32Value();
  layout.counter_limit = static_cast<uint64_t>(info[4].As<Napi::Number>().Int64Value());
  if (layout.aead.header_length < 8 || layout.aead.counter_offset > layout.aead.header_length - 8 ||
      layout.index_offset > layout.aead.header_length - 4) {
    return Result(info, -EINVAL);
  }
  const auto cipher = static_cast<AeadCipher>(info[0].As<Napi::Number>().Int32Value());
  return Napi::External<SessionTable>::New(env, new SessionTable(cipher, layout),
                                           [](Napi::Env, SessionTable* unused) { delete unused; });
}

SessionTable& TableOf(const Napi::CallbackInfo& info) {
  return *info[0].As<Napi::External<SessionTable>>().Data();
}

// setSession(table, index, key, value): 0 or -errno.
Napi::Value SetSessionCall(const Napi::CallbackInfo& info) {
  const auto key = info[2].As<Napi::Uint8Array>();
  const uint32_t index = info[1].As<Napi::Number>().Uint32Value();
  const uint32_t value = info[3].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), TableOf(info).Set(index, key.Data(), key.ByteLength(), value));
}

// removeSession(table, index): whether there was one.
Napi::Value RemoveSessionCall(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), TableOf(info).Remove(info[1].As<Napi::Number>().Uint32Value()));
}

// clearSessions(table): wipes all keys.
Napi::Value ClearSessionsCall(const Napi::CallbackInfo& info) {
  TableOf(info).Clear();
  return info.Env().Undefined();
}

// openSessions(table, memory, start, end, runs, prefixes, entries): how many runs, or -errno. Prefixes and
// datagram entries may be null.
napi_value OpenSessionsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[7];
  RunArguments given;
  if (!TakeArguments(env, info, arguments)) return RawResult(env, -EINVAL);
  auto* const table = ExternalOf<SessionTable>(env, arguments[0]);
  const int error = table == nullptr ? -EINVAL : given.Take(env, arguments);
  if (error < 0) return RawResult(env, error);
  const auto* const sources = ExternalOf<PrefixTable>(env, arguments[5]);
  const uint8_t* const entries = BytesOf(env, arguments[6], given.end * sizeof(DatagramEntry));
  // A check that was asked for must not be left out.
  if ((sources == nullptr && !IsNull(env, arguments[5])) ||
      (entries == nullptr && !IsNull(env, arguments[6])))
    return RawResult(env, -EINVAL);
  const size_t runs = table->Open(given.batch, given.start, given.end, sources,
                                  reinterpret_cast<const DatagramEntry*>(entries), given.runs);
  return RawResult(env, static_cast<int64_t>(runs));
}

// bootTime(): milliseconds since the machine started, those of suspension included.
napi_value BootTimeCall(napi_env env, napi_callback_info) {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  napi_value value = nullptr;
  napi_create_double(env, static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6,
                     &value);
  return value;
}

}  // namespace

void RegisterTunnelCalls(Napi::Env env, Napi::Object exports) {
  Export<NewPrefixTableCall>(env, exports, "newPrefixTable");
  Export<SetPrefixCall>(env, exports, "setPrefix");
  Export<RemovePrefixCall>(env, exports, "removePrefix");
  Export<LookupPrefixCall>(env, exports, "lookupPrefix");
  ExportRaw(env, exports, "runsByDestination", RunsByDestinationCall);
  Export<NewSessionTableCall>(env, exports, "newSessionTable");
  Export<SetSessionCall>(env, exports, "setSession");
  Export<RemoveSessionCall>(env, exports, "removeSession");
  Export<ClearSessionsCall>(env, exports, "clearSessions");
  ExportRaw(env, exports, "openSessions", OpenSessionsCall);
  ExportRaw(env, exports, "bootTime", BootTimeCall);
}

}  // namespace tuntap
