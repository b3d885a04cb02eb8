#pragma once

#include <node_api.h>

#include <memory>

#include "port/readiness.h"

namespace tuntap {

// What watches the fds of one environment. It lives as long as the environment's instance data.
class ReadinessEngine {
 public:
  virtual ~ReadinessEngine() = default;

  // "uv" or "thread".
  virtual const char* name() const = 0;

  // Watches `fd`, which gets O_NONBLOCK first: not every runtime's libuv sets it. A TUN fd must be attached:
  // before TUNSETIFF it polls as failed. Returns 0 and sets `*out`, or -errno.
  [[nodiscard]] int Watch(int fd, Readiness::Listener* listener, Readiness** out);

  // libuv's poll in Node.js, else a thread of our own; the environment variable TUNTAP_ENGINE overrides.
  // Returns nullptr if that names no engine, or one that this runtime has no functions for.
  static std::unique_ptr<ReadinessEngine> Choose(napi_env env);

 private:
  virtual int Create(int fd, Readiness::Listener* listener, Readiness** out) = 0;
};

// Watches on the event loop, by libuv. Returns nullptr if the process does not export libuv's functions: the
// addon links none of them, so that it loads everywhere.
std::unique_ptr<ReadinessEngine> NewUvEngine(napi_env env);

// Watches by a thread that waits in epoll_wait(2) and wakes JavaScript through a threadsafe function: for
// runtimes without libuv's poll. The first watch starts the thread, which takes three fds for as long as the
// environment lives.
std::unique_ptr<ReadinessEngine> NewThreadEngine(napi_env env);

}  // namespace tuntap
