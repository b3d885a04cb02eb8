#include <cerrno>

#include "arguments.h"
#include "linux/clocks.h"
#include "tunnel/session_table.h"

// What JavaScript calls to find the peers and sessions of a batch's packets.

namespace tuntap {
namespace {

// newPrefixTable(): an External.
Napi::Value NewPrefixTableCall(const Napi::CallbackInfo& info) {
  return Own(info.Env(), std::make_unique<PrefixTable>());
}

// Calls `use` with the trie and the bits of an address of 4 or 16 bytes; returns -EINVAL for other sizes, and
// for a prefix that is longer.
template <typename Use>
int64_t WithPrefix(PrefixTable* table, Bytes address, uint32_t length, Use use) {
  if (length > 8 * address.size) return -EINVAL;
  if (address.size == 4) return use(&table->ipv4, AddressBits::OfIpv4(address.data));
  return address.size == 16 ? use(&table->ipv6, AddressBits::OfIpv6(address.data)) : -EINVAL;
}

// The value that the prefix had, or kNoValue; -EINVAL for what is no prefix.
int64_t SetPrefix(PrefixTable* table, Bytes address, uint32_t length, uint32_t value) {
  return WithPrefix(table, address, length, [=](PrefixTrie* trie, const AddressBits& bits) -> int64_t {
    return trie->Set(bits, length, value);
  });
}

// The same.
int64_t RemovePrefix(PrefixTable* table, Bytes address, uint32_t length) {
  return WithPrefix(table, address, length, [=](PrefixTrie* trie, const AddressBits& bits) -> int64_t {
    return trie->Remove(bits, length);
  });
}

// The value of the longest prefix, or kNoValue.
int64_t LookupPrefix(PrefixTable* table, Bytes address) {
  return WithPrefix(table, address, 0,
                    [](PrefixTrie* trie, const AddressBits& bits) -> int64_t { return trie->Lookup(bits); });
}

// Whether these are packets of the batch, and there is a row for each.
bool Fits(const BatchView& batch, uint32_t start, uint32_t end, Rows<PacketRun> runs) {
  return start <= end && end <= batch.count() && end - start <= runs.size;
}

// How many runs, or -errno.
int64_t FindRuns(PrefixTable* table, const BatchView& batch, uint32_t start, uint32_t end,
                 Rows<PacketRun> runs) {
  if (!Fits(batch, start, end, runs)) return -EINVAL;
  return static_cast<int64_t>(RunsByDestination(batch, start, end, *table, runs.data));
}

// newSessionTable(cipher, layout, indexOffset, type, counterLimit): an External or -errno. The layout is that
// of newAead().
Napi::Value NewSessionTableCall(const Napi::CallbackInfo& info) {
  const auto aead = Argument<Rows<AeadLayout>>(info, 1);
  if (aead.size != 1) return Result(info, -EINVAL);
  const SessionLayout layout{*aead.data, Argument<uint32_t>(info, 2), Argument<uint32_t>(info, 3),
                             Argument<uint64_t>(info, 4)};
  if (layout.aead.header_length < 8 || layout.aead.counter_offset > layout.aead.header_length - 8 ||
      layout.index_offset > layout.aead.header_length - 4) {
    return Result(info, -EINVAL);
  }
  const auto cipher = static_cast<AeadCipher>(Argument<int>(info, 0));
  return Own(info.Env(), std::make_unique<SessionTable>(cipher, layout));
}

int SetSession(SessionTable* table, uint32_t index, Bytes key, uint32_t value, double until) {
  return table->Set(index, key.data, key.size, value, until);
}

bool RemoveSession(SessionTable* table, uint32_t index) { return table->Remove(index); }

// Wipes all keys.
int ClearSessions(SessionTable* table) {
  table->Clear();
  return 0;
}

// How many runs, or -errno. What may be null is a check that is left out only if it was not asked for.
int64_t OpenSessions(SessionTable* table, const BatchView& batch, uint32_t start, uint32_t end,
                     Rows<PacketRun> runs, std::optional<PrefixTable*> sources,
                     std::optional<Rows<DatagramEntry>> datagrams) {
  if (!Fits(batch, start, end, runs) || (datagrams && datagrams->size < end)) return -EINVAL;
  return static_cast<int64_t>(table->Open(batch, start, end, sources.value_or(nullptr),
                                          datagrams ? datagrams->data : nullptr, BootTime(), runs.data));
}

// bootTime(): milliseconds since the machine started, those of suspension included.
napi_value BootTimeCall(napi_env env, napi_callback_info) {
  napi_value value = nullptr;
  napi_create_double(env, BootTime(), &value);
  return value;
}

}  // namespace

void RegisterTunnelCalls(Napi::Env env, Napi::Object exports) {
  Export<NewPrefixTableCall>(env, exports, "newPrefixTable");
  Export<Call<SetPrefix>>(env, exports, "setPrefix");
  Export<Call<RemovePrefix>>(env, exports, "removePrefix");
  Export<Call<LookupPrefix>>(env, exports, "lookupPrefix");
  Export<Call<FindRuns>>(env, exports, "runsByDestination");
  Export<NewSessionTableCall>(env, exports, "newSessionTable");
  Export<Call<SetSession>>(env, exports, "setSession");
  Export<Call<RemoveSession>>(env, exports, "removeSession");
  Export<Call<ClearSessions>>(env, exports, "clearSessions");
  Export<Call<OpenSessions>>(env, exports, "openSessions");
  Export<BootTimeCall>(env, exports, "bootTime");
}

}  // namespace tuntap
