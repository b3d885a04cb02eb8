#include "uv_readiness.h"

#include <uv.h>

namespace tuntap {

struct Readiness::State {
  uv_poll_t poll;
  Readiness readiness{this};
  Listener* listener = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  int armed = 0;     // what the listener asked for
  int watching = 0;  // what libuv was told
  bool in_callback = false;

  int Apply() {
    if (armed == watching) return 0;
    watching = armed;
    if (armed == 0) return uv_poll_stop(&poll);
    const int events = ((armed & kReadable) ? UV_READABLE : 0) | ((armed & kWritable) ? UV_WRITABLE : 0);
    return uv_poll_start(&poll, events, OnPoll);
  }

  static void OnPoll(uv_poll_t* handle, int status, int uv_events) {
    auto* state = static_cast<State*>(handle->data);
    int events = 0;
    if (status < 0) {
      events = kFailed | state->armed;
      state->watching = 0;  // libuv stops a poll handle that failed
    } else {
      if (uv_events & UV_READABLE) events |= kReadable;
      if (uv_events & UV_WRITABLE) events |= kWritable;
    }
    state->armed &= ~events;
    if (events & kFailed) state->armed = 0;
    state->in_callback = true;
    state->listener->OnReady(events);
    state->in_callback = false;
    // After Close() the handle is closing and must be left alone.
    if (state->listener != nullptr) (void)state->Apply();
  }

  static void OnTeardown(napi_async_cleanup_hook_handle, void* data) {
    auto* state = static_cast<State*>(data);
    if (state->listener != nullptr) state->listener->OnTeardown();
  }

  static void OnClosed(uv_handle_t* handle) {
    auto* state = static_cast<State*>(handle->data);
    // During teardown this tells Node that it may go on.
    napi_remove_async_cleanup_hook(state->hook);
    delete state;
  }
};

int Readiness::Create(napi_env env, int fd, Listener* listener, Readiness** out) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return UV_ENOSYS;
  auto state = new State();
  const int error = uv_poll_init(loop, &state->poll, fd);
  if (error != 0) {
    delete state;
    return error;
  }
  state->poll.data = state;
  state->listener = listener;
  if (napi_add_async_cleanup_hook(env, State::OnTeardown, state, &state->hook) != napi_ok) {
    uv_close(reinterpret_cast<uv_handle_t*>(&state->poll),
             [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
    return UV_EINVAL;
  }
  *out = &state->readiness;
  return 0;
}

int Readiness::Arm(int events) {
  state_->armed |= events;
  return state_->in_callback ? 0 : state_->Apply();
}

void Readiness::Disarm(int events) {
  state_->armed &= ~events;
  if (!state_->in_callback) (void)state_->Apply();
}

void Readiness::SetReferenced(bool referenced) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&state_->poll);
  referenced ? uv_ref(handle) : uv_unref(handle);
}

void Readiness::Close() {
  state_->listener = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->poll), State::OnClosed);
}

}  // namespace tuntap
