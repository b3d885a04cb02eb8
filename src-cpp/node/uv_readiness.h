#pragma once

#include <node_api.h>

#include "port/readiness.h"

namespace tuntap {

// Watches `fd` on the event loop of a Node-API environment, by libuv. Sets O_NONBLOCK on it. A TUN fd must be
// attached first: before TUNSETIFF it polls as failed. Returns 0 and sets `*out`, or -errno.
[[nodiscard]] int CreateUvReadiness(napi_env env, int fd, Readiness::Listener* listener, Readiness** out);

}  // namespace tuntap
