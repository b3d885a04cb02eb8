#include <cerrno>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arguments.h"
#include "intercept/relay_thread.h"

// What JavaScript calls to let a thread relay between sockets.

namespace tuntap {
namespace {

// The thread of an environment, and its relays by their numbers, which JavaScript gives.
class RelaysHandle final : RelayThread::Listener {
 public:
  // Returns nullptr and sets `*error` if it fails.
  static RelaysHandle* Create(napi_env env, napi_value callback, int* error) {
    auto handle = std::unique_ptr<RelaysHandle>(new RelaysHandle(env));
    napi_value name = nullptr;
    if (napi_create_string_utf8(env, "TUNTAP", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_threadsafe_function(env, callback, nullptr, name, 0, 1, nullptr, nullptr, handle.get(),
                                        OnWake, &handle->tell_) != napi_ok) {
      *error = -ENOSYS;
      return nullptr;
    }
    (void)napi_unref_threadsafe_function(env, handle->tell_);
    *error = RelayThread::Create(handle.get(), &handle->thread_);
    if (*error < 0) {
      (void)napi_release_threadsafe_function(handle->tell_, napi_tsfn_release);
      return nullptr;
    }
    // Hooks run last in, first out: this one before that of the threadsafe function.
    napi_add_env_cleanup_hook(env, OnTeardown, handle.get());
    return handle.release();
  }

  Relay* Find(uint32_t id) {
    const auto place = relays_.find(id);
    return place == relays_.end() ? nullptr : place->second.get();
  }

  void Start(std::shared_ptr<Relay> relay) {
    if (relays_.empty()) (void)napi_ref_threadsafe_function(env_, tell_);
    relays_.emplace(relay->id(), relay);
    thread_->Start(std::move(relay));
  }

  void Abort(uint32_t id) {
    const auto place = relays_.find(id);
    if (place != relays_.end()) thread_->Abort(place->second);
  }

 private:
  explicit RelaysHandle(napi_env env) : env_(env) {}

  // How a relay ended.
  struct End {
    std::shared_ptr<Relay> relay;
    int error;
  };

  // On the thread.
  void OnEnd(const std::shared_ptr<Relay>& relay, int error) override {
    auto end = std::make_unique<End>(End{relay, error});
    if (napi_call_threadsafe_function(tell_, end.get(), napi_tsfn_nonblocking) == napi_ok) {
      (void)end.release();  // OnWake's
    }
  }

  static void OnWake(napi_env env, napi_value callback, void* context, void* data) {
    const std::unique_ptr<End> end(static_cast<End*>(data));
    if (env == nullptr) return;  // the environment ends
    auto* const self = static_cast<RelaysHandle*>(context);
    const Relay& relay = *end->relay;
    self->relays_.erase(relay.id());
    if (self->relays_.empty()) (void)napi_unref_threadsafe_function(env, self->tell_);
    napi_value undefined = nullptr;
    napi_value arguments[] = {RawResult(env, relay.id()), RawResult(env, end->error),
                              RawResult(env, relay.from(0)->bytes()), RawResult(env, relay.from(1)->bytes())};
    if (napi_get_undefined(env, &undefined) != napi_ok) return;
    (void)napi_call_function(env, undefined, callback, std::size(arguments), arguments, nullptr);
  }

  // No JavaScript runs any more.
  static void OnTeardown(void* data) {
    const std::unique_ptr<RelaysHandle> self(static_cast<RelaysHandle*>(data));
    self->thread_.reset();
    (void)napi_release_threadsafe_function(self->tell_, napi_tsfn_release);
  }

  const napi_env env_;
  napi_threadsafe_function tell_ = nullptr;
  std::unordered_map<uint64_t, std::shared_ptr<Relay>> relays_;
  std::unique_ptr<RelayThread> thread_;
};

// newRelays(onEnd): an External or -errno. It lives as long as the environment. onEnd(id, error, bytes from
// the first, bytes from the second).
Napi::Value NewRelaysCall(const Napi::CallbackInfo& info) {
  int error = 0;
  RelaysHandle* const handle = RelaysHandle::Create(info.Env(), info[0], &error);
  if (handle == nullptr) return Result(info, error);
  return Napi::External<RelaysHandle>::New(info.Env(), handle);
}

// The bytes of a Uint8Array, or none of null.
std::vector<uint8_t> CopyBytes(napi_env env, napi_value value) {
  Bytes bytes{nullptr, 0};
  if (IsNull(env, value) || !TakeBytes(env, value, &bytes)) return {};
  return {bytes.data, bytes.data + bytes.size};
}

// startRelay(relays, id, first, second, to the first, to the second): 0 or -errno. The sockets are the
// relay's from then on, also after an error. The bytes, or null, are sent before those of the other socket.
napi_value StartRelayCall(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  uint32_t id = 0;
  int32_t first = -1;
  int32_t second = -1;
  if (!TakeArguments(env, info, arguments) || !TakeUint(env, arguments[1], &id) ||
      napi_get_value_int32(env, arguments[2], &first) != napi_ok ||
      napi_get_value_int32(env, arguments[3], &second) != napi_ok) {
    return RawResult(env, -EINVAL);
  }
  auto* const handle = ExternalOf<RelaysHandle>(env, arguments[0]);
  auto relay = std::make_shared<Relay>(id, FileDescriptor(first), FileDescriptor(second));
  if (handle == nullptr) return RawResult(env, -EBADF);
  if (handle->Find(id) != nullptr) return RawResult(env, -EEXIST);
  relay->from(1)->PutFirst(CopyBytes(env, arguments[4]));
  relay->from(0)->PutFirst(CopyBytes(env, arguments[5]));
  handle->Start(std::move(relay));
  return RawResult(env, 0);
}

// abortRelay(relays, id): both connections are reset.
napi_value AbortRelayCall(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  uint32_t id = 0;
  if (!TakeArguments(env, info, arguments) || !TakeUint(env, arguments[1], &id))
    return RawResult(env, -EINVAL);
  auto* const handle = ExternalOf<RelaysHandle>(env, arguments[0]);
  if (handle == nullptr) return RawResult(env, -EBADF);
  handle->Abort(id);
  return RawResult(env, 0);
}

// relayBytes(relays, id, side): the bytes of that socket that the other one took, or -errno.
napi_value RelayBytesCall(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  uint32_t id = 0;
  uint32_t side = 0;
  if (!TakeArguments(env, info, arguments) || !TakeUint(env, arguments[1], &id) ||
      !TakeUint(env, arguments[2], &side) || side > 1) {
    return RawResult(env, -EINVAL);
  }
  auto* const handle = ExternalOf<RelaysHandle>(env, arguments[0]);
  const Relay* const relay = handle == nullptr ? nullptr : handle->Find(id);
  return relay == nullptr ? RawResult(env, -ENOENT)
                          : RawResult(env, relay->from(static_cast<int>(side))->bytes());
}

}  // namespace

void RegisterRelayCalls(Napi::Env env, Napi::Object exports) {
  Export<NewRelaysCall>(env, exports, "newRelays");
  ExportRaw(env, exports, "startRelay", StartRelayCall);
  ExportRaw(env, exports, "abortRelay", AbortRelayCall);
  ExportRaw(env, exports, "relayBytes", RelayBytesCall);
}

}  // namespace tuntap
