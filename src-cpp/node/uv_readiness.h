#pragma once

#include "readiness_engine.h"

namespace tuntap {

// Watches on the event loop of a Node-API environment, by libuv. Returns nullptr if the process does not
// export libuv's functions: the addon links none of them, so that it loads everywhere.
std::unique_ptr<ReadinessEngine> NewUvEngine(napi_env env);

}  // namespace tuntap
