#pragma once

#include <node_api.h>

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace tuntap {

// Runs `execute` on libuv's pool and settles a promise with what `convert` makes of its result. Node-API
// itself, not node-addon-api, which ends the process where a call fails because the worker that asked is
// being terminated. The result frees itself where nobody takes it, so it owns what it holds.
template <typename Result>
class AsyncCall {
 public:
  using Execute = std::function<Result()>;
  using Convert = std::function<napi_value(napi_env, Result&)>;

  // The promise; nullptr with an exception pending, or while the environment is being torn down.
  static napi_value Start(napi_env env, Execute execute, Convert convert) {
    auto call = std::make_unique<AsyncCall>(std::move(execute), convert);
    napi_value promise = nullptr;
    napi_value name = nullptr;
    if (napi_create_promise(env, &call->deferred_, &promise) != napi_ok ||
        napi_create_string_utf8(env, "TUNTAP", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_async_work(env, nullptr, name, OnPool, OnDone, call.get(), &call->work_) != napi_ok) {
      return nullptr;
    }
    if (napi_add_env_cleanup_hook(env, OnTeardown, call.get()) != napi_ok ||
        napi_queue_async_work(env, call->work_) != napi_ok) {
      (void)napi_remove_env_cleanup_hook(env, OnTeardown, call.get());
      napi_delete_async_work(env, call->work_);
      return nullptr;
    }
    (void)call.release();  // OnDone's
    return promise;
  }

  AsyncCall(Execute execute, Convert convert) : execute_(std::move(execute)), convert_(convert) {}

 private:
  static void OnPool(napi_env, void* data) {
    auto* call = static_cast<AsyncCall*>(data);
    Result result = call->execute_();
    call->execute_ = nullptr;  // and its fds
    const std::lock_guard lock(call->mutex_);
    if (!call->abandoned_) call->result_ = std::move(result);
  }

  // The environment ends first: in Deno OnDone() does not follow, and what the result holds would stay.
  static void OnTeardown(void* data) {
    auto* call = static_cast<AsyncCall*>(data);
    const std::lock_guard lock(call->mutex_);
    call->abandoned_ = true;
    call->result_ = {};
  }

  // On the JavaScript thread.
  static void OnDone(napi_env env, napi_status status, void* data) {
    std::unique_ptr<AsyncCall> call(static_cast<AsyncCall*>(data));
    napi_delete_async_work(env, call->work_);
    if (call->abandoned_) return;
    (void)napi_remove_env_cleanup_hook(env, OnTeardown, call.get());
    if (status != napi_ok) return;  // the environment ends before the work began
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    napi_value value = call->convert_(env, call->result_);
    if (value != nullptr) (void)napi_resolve_deferred(env, call->deferred_, value);
    napi_close_handle_scope(env, scope);
  }

  Execute execute_;
  Convert convert_;
  std::mutex mutex_;
  bool abandoned_ = false;  // written on the JavaScript thread
  Result result_{};
  napi_deferred deferred_ = nullptr;
  napi_async_work work_ = nullptr;
};

}  // namespace tuntap
