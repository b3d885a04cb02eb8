#pragma once

#include "readiness_engine.h"

namespace tuntap {

// Watches by a thread that waits in epoll_wait(2) and wakes JavaScript through a threadsafe function: for
// runtimes without libuv's poll. The first watch starts the thread, which takes two fds for as long as the
// environment lives.
std::unique_ptr<ReadinessEngine> NewThreadEngine(napi_env env);

}  // namespace tuntap
