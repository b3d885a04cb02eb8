#include <uv.h>

#include "crypto/process_symbol.h"
#include "readiness_engine.h"

namespace tuntap {
namespace {

// libuv's functions, of the runtime that this addon runs in.
struct Uv {
  decltype(&uv_poll_init) poll_init = ProcessSymbol("uv_poll_init");
  decltype(&uv_poll_start) poll_start = ProcessSymbol("uv_poll_start");
  decltype(&uv_poll_stop) poll_stop = ProcessSymbol("uv_poll_stop");
  decltype(&uv_close) close = ProcessSymbol("uv_close");
  decltype(&uv_ref) ref = ProcessSymbol("uv_ref");
  decltype(&uv_unref) unref = ProcessSymbol("uv_unref");

  bool complete() const {
    return poll_init != nullptr && poll_start != nullptr && poll_stop != nullptr && close != nullptr &&
           ref != nullptr && unref != nullptr;
  }
};

const Uv& LoadUv() {
  static const Uv uv;
  return uv;
}

class UvReadiness final : public Readiness {
 public:
  static int Create(const Uv& uv, napi_env env, int fd, Listener* listener, Readiness** out) {
    auto self = std::make_unique<UvReadiness>(uv);
    self->listener_ = listener;
    self->poll_.data = self.get();
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok ||
        napi_add_async_cleanup_hook(env, OnTeardown, self.get(), &self->hook_) != napi_ok) {
      return UV_ENOSYS;
    }
    const int error = uv.poll_init(loop, &self->poll_, fd);
    if (error != 0) {
      napi_remove_async_cleanup_hook(self->hook_);
      return error;
    }
    *out = self.release();  // OnClosed()'s
    return 0;
  }

  explicit UvReadiness(const Uv& uv) : uv_(uv) {}

  int Arm(int events) override {
    armed_ |= events;
    return in_callback_ ? 0 : Apply();
  }

  bool IsArmed(int events) const override { return (armed_ & events) == events; }

  void Disarm(int events) override {
    armed_ &= ~events;
    if (!in_callback_) (void)Apply();
  }

  void SetReferenced(bool referenced) override { referenced ? uv_.ref(handle()) : uv_.unref(handle()); }

  void Close() override {
    listener_ = nullptr;
    uv_.close(handle(), OnClosed);
  }

 private:
  uv_handle_t* handle() { return reinterpret_cast<uv_handle_t*>(&poll_); }

  int Apply() {
    if (armed_ == watching_) return 0;
    watching_ = armed_;
    if (armed_ == 0) return uv_.poll_stop(&poll_);
    const int events = ((armed_ & kReadable) ? UV_READABLE : 0) | ((armed_ & kWritable) ? UV_WRITABLE : 0);
    return uv_.poll_start(&poll_, events, OnPoll);
  }

  static void OnPoll(uv_poll_t* handle, int status, int uv_events) {
    auto* self = static_cast<UvReadiness*>(handle->data);
    int events = 0;
    if (status < 0) {
      events = kFailed | self->armed_;
      self->watching_ = 0;  // libuv stops a poll handle that failed
    } else {
      if (uv_events & UV_READABLE) events |= kReadable;
      if (uv_events & UV_WRITABLE) events |= kWritable;
    }
    self->armed_ &= ~events;
    if (events & kFailed) self->armed_ = 0;
    self->in_callback_ = true;
    self->listener_->OnReady(events);
    self->in_callback_ = false;
    // After Close() the handle is closing and must be left alone.
    if (self->listener_ != nullptr) (void)self->Apply();
  }

  static void OnTeardown(napi_async_cleanup_hook_handle, void* data) {
    auto* self = static_cast<UvReadiness*>(data);
    if (self->listener_ != nullptr) self->listener_->OnTeardown();
  }

  static void OnClosed(uv_handle_t* handle) {
    const std::unique_ptr<UvReadiness> self(static_cast<UvReadiness*>(handle->data));
    // During teardown this tells Node that it may go on.
    napi_remove_async_cleanup_hook(self->hook_);
  }

  const Uv& uv_;
  uv_poll_t poll_{};
  Listener* listener_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  int armed_ = 0;     // what the listener asked for
  int watching_ = 0;  // what libuv was told
  bool in_callback_ = false;
};

class UvEngine final : public ReadinessEngine {
 public:
  explicit UvEngine(napi_env env) : env_(env) {}
  const char* name() const override { return "uv"; }

 private:
  int Create(int fd, Readiness::Listener* listener, Readiness** out) override {
    return UvReadiness::Create(LoadUv(), env_, fd, listener, out);
  }

  napi_env env_;
};

}  // namespace

std::unique_ptr<ReadinessEngine> NewUvEngine(napi_env env) {
  return LoadUv().complete() ? std::make_unique<UvEngine>(env) : nullptr;
}

}  // namespace tuntap
