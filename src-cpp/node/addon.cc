#include <napi.h>

#include "arguments.h"
#include "crypto/aead.h"
#include "descriptor.h"
#include "intercept/nat.h"

namespace tuntap {
namespace {

struct Number {
  const char* name;
  size_t value;
};

#define SIZE(type) \
  { #type, sizeof(type) }
#define FIELD(type, field) \
  { #type "." #field, offsetof(type, field) }
#define CONSTANT(name) \
  { #name, name }

// What lib/native/layout.ts has to agree with.
constexpr Number kLayout[] = {
    // clang-format off
    SIZE(BatchHeader), FIELD(BatchHeader, capacity), FIELD(BatchHeader, count), FIELD(BatchHeader, end),
    FIELD(BatchHeader, outcome.packets), FIELD(BatchHeader, outcome.bytes),
    FIELD(BatchHeader, outcome.error),
    SIZE(BatchEntry), FIELD(BatchEntry, offset), FIELD(BatchEntry, length), FIELD(BatchEntry, status),
    FIELD(BatchEntry, slot),
    CONSTANT(kDropped), CONSTANT(kMaxCapacity), CONSTANT(kSlotAlignment), CONSTANT(kMaxPacketSize),
    CONSTANT(kMaxTransferSize),
    SIZE(DatagramEntry), FIELD(DatagramEntry, interface), FIELD(DatagramEntry, local),
    FIELD(DatagramEntry, local_family), FIELD(DatagramEntry, tos), FIELD(DatagramEntry, flags),
    FIELD(DatagramEntry, local_port), FIELD(DatagramEntry, flow), FIELD(DatagramEntry, flow_id),
    CONSTANT(kHasTos), CONSTANT(kTruncated),
    SIZE(SocketErrorRecord), FIELD(SocketErrorRecord, offender), FIELD(SocketErrorRecord, error),
    FIELD(SocketErrorRecord, info), FIELD(SocketErrorRecord, origin), FIELD(SocketErrorRecord, type),
    FIELD(SocketErrorRecord, code),
    SIZE(UdpState), FIELD(UdpState, gso), FIELD(UdpState, gro), FIELD(UdpState, drops),
    FIELD(UdpState, segmented_sends), FIELD(UdpState, coalesced_reads), FIELD(UdpState, error_count),
    FIELD(UdpState, errors_lost), FIELD(UdpState, peer_family), FIELD(UdpState, errors),
    CONSTANT(kMaxSegments), CONSTANT(kReceivedMessages), CONSTANT(kEnoughDatagrams), CONSTANT(kReadable),
    CONSTANT(kWritable), CONSTANT(kFailed), CONSTANT(kArm), CONSTANT(kInCallback), CONSTANT(kRecording),
    CONSTANT(kControlWords), CONSTANT(kNatWords),
    CONSTANT(kPacketsRead), CONSTANT(kBytesRead), CONSTANT(kPacketsWritten), CONSTANT(kBytesWritten),
    CONSTANT(kMalformed), CONSTANT(kCounters),
    SIZE(AeadLayout), FIELD(AeadLayout, nonce_prefix), SIZE(PacketRun), CONSTANT(kNoValue),
    SIZE(NatEvent), FIELD(NatEvent, ends.source), FIELD(NatEvent, ends.destination),
    FIELD(NatEvent, totals.client_bytes), CONSTANT(kNatCounters),
    CONSTANT(kShortcutSentRuns), CONSTANT(kShortcutReceivedRuns), CONSTANT(kShortcutMtu),
    CONSTANT(kShortcutBooks), CONSTANT(kShortcutWords), CONSTANT(kShortcutPadding), SIZE(ShortcutBook),
    // clang-format on
};

Napi::Object Initialize(Napi::Env env, Napi::Object exports) {
  std::unique_ptr<ReadinessEngine> engine = ReadinessEngine::Choose(env);
  // An empty name is for lib/native/load.ts to refuse: Deno drops an exception that is thrown here.
  exports.Set("engine", engine == nullptr ? "" : engine->name());
  if (engine == nullptr) return exports;
  Napi::Object layout = Napi::Object::New(env);
  for (const Number& number : kLayout) layout.Set(number.name, static_cast<double>(number.value));
  exports.Set("layout", layout);
  Napi::Array fatal = Napi::Array::New(env);
  for (const int error : kFatalErrors) fatal.Set(fatal.Length(), error);
  exports.Set("fatalErrors", fatal);
  Descriptor::Register(env, std::move(engine));
  RegisterDeviceCalls(env, exports);
  RegisterNetworkCalls(env, exports);
  RegisterUdpCalls(env, exports);
  RegisterAeadCalls(env, exports);
  RegisterSealingCalls(env, exports);
  RegisterRelayCalls(env, exports);
  RegisterTunnelCalls(env, exports);
  RegisterShortcutCalls(env, exports);
  RegisterHandshakeCalls(env, exports);
  RegisterInterceptCalls(env, exports);
  RegisterDatagramCalls(env, exports);
  return exports;
}

NODE_API_MODULE(tuntap_native, Initialize)

}  // namespace
}  // namespace tuntap
