#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <optional>
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

  // Null if there is none.
  std::shared_ptr<Relay> Find(uint32_t id) const {
    const auto place = relays_.find(id);
    return place == relays_.end() ? nullptr : place->second;
  }

  void Start(std::shared_ptr<Relay> relay) {
    if (relays_.empty()) (void)napi_ref_threadsafe_function(env_, tell_);
    relays_.emplace(relay->id(), relay);
    thread_->Start(std::move(relay));
  }

  RelayThread& thread() { return *thread_; }

 private:
  explicit RelaysHandle(napi_env env) : env_(env) {}

  // What the thread tells.
  struct Event {
    std::shared_ptr<Relay> relay;
    bool has_ended;
    int error;
  };

  // On the thread.
  void OnConnected(const std::shared_ptr<Relay>& relay) override { Tell({relay, false, 0}); }
  void OnEnd(const std::shared_ptr<Relay>& relay, int error) override { Tell({relay, true, error}); }
  void Tell(Event told) {
    auto event = std::make_unique<Event>(std::move(told));
    if (napi_call_threadsafe_function(tell_, event.get(), napi_tsfn_nonblocking) == napi_ok) {
      (void)event.release();  // OnWake's
    }
  }

  static void OnWake(napi_env env, napi_value callback, void* context, void* data) {
    const std::unique_ptr<Event> event(static_cast<Event*>(data));
    if (env == nullptr) return;  // the environment ends
    auto* const self = static_cast<RelaysHandle*>(context);
    const Relay& relay = *event->relay;
    if (event->has_ended) {
      self->relays_.erase(relay.id());
      if (self->relays_.empty()) (void)napi_unref_threadsafe_function(env, self->tell_);
    }
    napi_value undefined = nullptr;
    napi_value arguments[] = {RawResult(env, relay.id()),
                              RawResult(env, event->has_ended ? 1 : 0),
                              RawResult(env, event->error),
                              RawResult(env, relay.reply()),
                              RawResult(env, relay.from(0)->bytes()),
                              RawResult(env, relay.from(1)->bytes())};
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

// openStreamSocket(family): the fd of a socket that does not block, in the process's namespace, or -errno.
int OpenStreamSocket(int family) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

// resetFd(fd): closes a connection's fd so that its peer sees a reset.
int ResetFd(int fd) {
  FileDescriptor socket(fd);
  ResetConnection(&socket);
  return 0;
}

// newRelays(onEvent): an External or -errno. It lives as long as the environment. onEvent(id, 0 or 1, error,
// reply, bytes from the first, bytes from the second): 0 says that the relay is connected, 1 that it has
// ended.
Napi::Value NewRelaysCall(const Napi::CallbackInfo& info) {
  int error = 0;
  RelaysHandle* const handle = RelaysHandle::Create(info.Env(), info[0], &error);
  if (handle == nullptr) return Result(info, error);
  return Napi::External<RelaysHandle>::New(info.Env(), handle);
}

std::vector<uint8_t> CopyBytes(const std::optional<Bytes>& bytes) {
  return bytes ? std::vector<uint8_t>(bytes->data, bytes->data + bytes->size) : std::vector<uint8_t>();
}

// 0 or -errno. The sockets are the relay's from then on, also after an error. The bytes, or null, are sent
// before those of the other socket.
int StartRelay(RelaysHandle* handle, uint32_t id, int first, int second, std::optional<Bytes> to_first,
               std::optional<Bytes> to_second) {
  auto relay = std::make_shared<Relay>(id, FileDescriptor(first), FileDescriptor(second));
  if (handle->Find(id) != nullptr) return -EEXIST;
  relay->from(1)->PutFirst(CopyBytes(to_first));
  relay->from(0)->PutFirst(CopyBytes(to_second));
  handle->Start(std::move(relay));
  return 0;
}

Dialer::Message ToMessage(Bytes bytes) { return {bytes.data, bytes.data + bytes.size}; }

// 0 or -errno. The second socket, which is connecting, is the relay's from then on, also after an error. The
// messages are Dialer's.
int DialRelay(RelaysHandle* handle, uint32_t id, int second, uint32_t protocol, Bytes greeting,
              Bytes password, Bytes request) {
  FileDescriptor socket(second);
  if (protocol > static_cast<uint32_t>(Dialer::Protocol::kHttp)) return -EINVAL;
  if (handle->Find(id) != nullptr) return -EEXIST;
  const Dialer::Messages messages{ToMessage(greeting), ToMessage(password), ToMessage(request)};
  auto dialer = std::make_unique<Dialer>(static_cast<Dialer::Protocol>(protocol), messages);
  handle->Start(std::make_shared<Relay>(id, std::move(socket), std::move(dialer)));
  return 0;
}

// Gives a connected relay its first socket, which is the relay's from then on.
int JoinRelay(RelaysHandle* handle, uint32_t id, int first) {
  FileDescriptor socket(first);
  if (const std::shared_ptr<Relay> relay = handle->Find(id)) {
    handle->thread().Join(relay, std::move(socket));
  } else {
    ResetConnection(&socket);
  }
  return 0;
}

// Both connections are reset.
int AbortRelay(RelaysHandle* handle, uint32_t id) {
  if (const std::shared_ptr<Relay> relay = handle->Find(id)) handle->thread().Abort(relay);
  return 0;
}

// The bytes of that socket that the other one took, or -errno.
int64_t RelayBytes(RelaysHandle* handle, uint32_t id, uint32_t side) {
  const std::shared_ptr<Relay> relay = handle->Find(id);
  if (relay == nullptr || side > 1) return -ENOENT;
  return static_cast<int64_t>(relay->from(static_cast<int>(side))->bytes());
}

}  // namespace

void RegisterRelayCalls(Napi::Env env, Napi::Object exports) {
  Export<Call<OpenStreamSocket>>(env, exports, "openStreamSocket");
  Export<Call<ResetFd>>(env, exports, "resetFd");
  Export<NewRelaysCall>(env, exports, "newRelays");
  Export<Call<StartRelay>>(env, exports, "startRelay");
  Export<Call<DialRelay>>(env, exports, "dialRelay");
  Export<Call<JoinRelay>>(env, exports, "joinRelay");
  Export<Call<AbortRelay>>(env, exports, "abortRelay");
  Export<Call<RelayBytes>>(env, exports, "relayBytes");
}

}  // namespace tuntap
