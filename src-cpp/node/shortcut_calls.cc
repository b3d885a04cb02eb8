#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <vector>

#include "arguments.h"
#include "crypto/aead.h"
#include "tunnel/shortcut.h"

// What JavaScript calls to let native code pass on a tunnel's packets.

namespace tuntap {
namespace {

// A shortcut and the JavaScript objects whose memory it uses.
struct ShortcutHandle {
  std::shared_ptr<Shortcut> shortcut;
  std::vector<Napi::ObjectReference> parts;
  std::map<uint32_t, std::vector<Napi::ObjectReference>> of_senders;
};

Napi::ObjectReference Keep(const Napi::CallbackInfo& info, size_t index) {
  return Napi::Persistent(info[index].As<Napi::Object>());
}

// newShortcut(prefixes, sessions, sentRuns, receivedRuns, routes, state, books, timer): an External or
// -errno. None of the arrays may be detached. The timer is openTimer()'s.
Napi::Value NewShortcutCall(const Napi::CallbackInfo& info) {
  const auto sent = Argument<Rows<PacketRun>>(info, 2);
  const auto received = Argument<Rows<PacketRun>>(info, 3);
  const auto routes = Argument<Rows<DatagramEntry>>(info, 4);
  const auto state = Argument<Rows<uint32_t>>(info, 5);
  const auto books = Argument<Rows<ShortcutBook>>(info, 6);
  if (state.size < kShortcutWords) return Result(info, -EINVAL);
  const Shortcut::Parts parts{Argument<PrefixTable*>(info, 0),
                              Argument<SessionTable*>(info, 1),
                              sent.data,
                              received.data,
                              std::min(sent.size, received.size),
                              routes.data,
                              routes.size,
                              state.data,
                              books.data,
                              books.size,
                              &Argument<Descriptor*>(info, 7)->channel()};
  auto handle = std::make_unique<ShortcutHandle>();
  handle->shortcut = std::make_shared<Shortcut>(parts);
  for (size_t i = 0; i < 8; i++) handle->parts.push_back(Keep(info, i));
  return Own(info.Env(), std::move(handle));
}

// setShortcutSender(shortcut, peer, aead, header, counter, counterLimit, until, route, session): 0 or -errno.
// The counter is a Float64Array, the route a DatagramEntry.
Napi::Value SetShortcutSenderCall(const Napi::CallbackInfo& info) {
  auto* const handle = Argument<ShortcutHandle*>(info, 0);
  const auto peer = Argument<uint32_t>(info, 1);
  const AeadHandle& aead = *Argument<AeadHandle*>(info, 2);
  const auto header = Argument<Bytes>(info, 3);
  const auto counter = Argument<Rows<double>>(info, 4);
  const auto route = Argument<Rows<DatagramEntry>>(info, 7);
  if (aead == nullptr || header.size != aead->layout().header_length || counter.size != 1 ||
      route.size != 1) {
    return Result(info, -EINVAL);
  }
  handle->shortcut->SetSender(peer, {aead,
                                     {header.data, header.data + header.size},
                                     counter.data,
                                     Argument<double>(info, 5),
                                     Argument<double>(info, 6),
                                     route.data,
                                     Argument<uint32_t>(info, 8)});
  std::vector<Napi::ObjectReference>& kept = handle->of_senders[peer];
  kept.clear();
  kept.push_back(Keep(info, 4));
  kept.push_back(Keep(info, 7));
  return Result(info, 0);
}

int RemoveShortcutSender(ShortcutHandle* handle, uint32_t peer) {
  handle->shortcut->RemoveSender(peer);
  handle->of_senders.erase(peer);
  return 0;
}

// shortcutToSocket(shortcut, device, socket): what the device's descriptor reads goes to the socket's; null:
// no longer.
Napi::Value ShortcutToSocketCall(const Napi::CallbackInfo& info) {
  auto* const device = Argument<Descriptor*>(info, 1);
  if (info[2].IsNull()) {
    device->SetForwarder(nullptr, {}, nullptr);
    return Result(info, 0);
  }
  Channel* const socket = &Argument<Descriptor*>(info, 2)->channel();
  device->SetForwarder(Shortcut::ToSocket(Argument<ShortcutHandle*>(info, 0)->shortcut, socket),
                       KeptBy(info, {0, 2}), nullptr);
  return Result(info, 0);
}

// shortcutToDevice(shortcut, socket, device, received): what the socket's descriptor reads, described by
// `received`, goes to the device's.
Napi::Value ShortcutToDeviceCall(const Napi::CallbackInfo& info) {
  auto* const device = Argument<Descriptor*>(info, 2);
  const auto received = Argument<Rows<DatagramEntry>>(info, 3);
  Argument<Descriptor*>(info, 1)->SetForwarder(
      Shortcut::ToDevice(Argument<ShortcutHandle*>(info, 0)->shortcut, &device->channel(), received.data,
                         received.size),
      KeptBy(info, {0, 2, 3}), device);
  return Result(info, 0);
}

// openTimer(): a Descriptor, or -errno.
Napi::Value OpenTimerCall(const Napi::CallbackInfo& info) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  return Descriptor::Wrap(info.Env(), fd < 0 ? -errno : fd);
}

}  // namespace

void RegisterShortcutCalls(Napi::Env env, Napi::Object exports) {
  Export<OpenTimerCall>(env, exports, "openTimer");
  Export<NewShortcutCall>(env, exports, "newShortcut");
  Export<SetShortcutSenderCall>(env, exports, "setShortcutSender");
  Export<Call<RemoveShortcutSender>>(env, exports, "removeShortcutSender");
  Export<ShortcutToSocketCall>(env, exports, "shortcutToSocket");
  Export<ShortcutToDeviceCall>(env, exports, "shortcutToDevice");
}

}  // namespace tuntap
