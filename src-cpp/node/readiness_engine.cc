#include "readiness_engine.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace tuntap {
namespace {

// Whether the runtime says that it is another than Node.js. Its symbols don't tell: Bun exports all of
// libuv's names, and ends the process when uv_poll_init is called.
bool HasVersionOf(napi_env env, const char* runtime) {
  napi_value global = nullptr;
  napi_value process = nullptr;
  napi_value versions = nullptr;
  bool found = false;
  return napi_get_global(env, &global) == napi_ok &&
         napi_get_named_property(env, global, "process", &process) == napi_ok &&
         napi_get_named_property(env, process, "versions", &versions) == napi_ok &&
         napi_has_named_property(env, versions, runtime, &found) == napi_ok && found;
}

}  // namespace

int ReadinessEngine::Watch(int fd, Readiness::Listener* listener, Readiness** out) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  return Create(fd, listener, out);
}

std::unique_ptr<ReadinessEngine> ReadinessEngine::Choose(napi_env env) {
  const char* const given = getenv("TUNTAP_ENGINE");
  const std::string_view name = given == nullptr ? "" : given;
  if (name == "uv") return NewUvEngine(env);
  if (name == "thread") return NewThreadEngine(env);
  if (!name.empty()) return nullptr;
  const bool other_runtime = HasVersionOf(env, "bun") || HasVersionOf(env, "deno");
  std::unique_ptr<ReadinessEngine> engine;
  if (!other_runtime) engine = NewUvEngine(env);
  return engine ? std::move(engine) : NewThreadEngine(env);
}

}  // namespace tuntap
