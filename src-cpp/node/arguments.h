#pragma once

#include <napi.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>

#include "descriptor.h"

// What the functions that JavaScript calls have in common. Those that make objects are written with
// node-addon-api. Those that give a number are C++ functions behind Call(), which uses Node-API itself, since
// CallbackInfo's bookkeeping costs as much as a call for a batch; so do callbacks that may run while a worker
// is being terminated, where node-addon-api ends the process. TypeScript checks the arguments' types, C++
// memory safety.

namespace tuntap {

void RegisterDeviceCalls(Napi::Env env, Napi::Object exports);
void RegisterNetworkCalls(Napi::Env env, Napi::Object exports);
void RegisterUdpCalls(Napi::Env env, Napi::Object exports);
void RegisterAeadCalls(Napi::Env env, Napi::Object exports);
void RegisterSealingCalls(Napi::Env env, Napi::Object exports);
void RegisterRelayCalls(Napi::Env env, Napi::Object exports);
void RegisterTunnelCalls(Napi::Env env, Napi::Object exports);
void RegisterShortcutCalls(Napi::Env env, Napi::Object exports);
void RegisterHandshakeCalls(Napi::Env env, Napi::Object exports);
void RegisterDatagramCalls(Napi::Env env, Napi::Object exports);
void RegisterInterceptCalls(Napi::Env env, Napi::Object exports);

// An Aead as JavaScript holds it. disposeAead() empties it, so that the keys are gone before the garbage
// collector comes by, or as soon as no thread of a SealingPool seals by them any more.
using AeadHandle = std::shared_ptr<class Aead>;

template <Napi::Value (*kFunction)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<kFunction>(env, name));
}

template <napi_callback kFunction>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, kFunction, nullptr, &value) == napi_ok) {
    exports.Set(name, Napi::Value(env, value));
  }
}

// The structures in a typed array, until JavaScript runs again.
template <typename T>
struct Rows {
  T* data = nullptr;
  size_t size = 0;
};
using Bytes = Rows<uint8_t>;

// Take() converts one argument. Returns 0 or -errno.

template <typename T>
[[nodiscard]] int Take(napi_env env, napi_value value, Rows<T>* out) {
  napi_typedarray_type type;
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok)
    return -EINVAL;
  const size_t width = type == napi_uint8_array ? 1 : type == napi_uint32_array ? 4 : 8;
  const bool known = width < 8 || type == napi_float64_array;
  if (!known || reinterpret_cast<uintptr_t>(data) % alignof(T) != 0) return -EINVAL;
  *out = {static_cast<T*>(data), width * length / sizeof(T)};
  return 0;
}

// A batch in an ArrayBuffer, which JavaScript can detach at any time.
[[nodiscard]] inline int Take(napi_env env, napi_value value, BatchView* out) {
  void* memory = nullptr;
  size_t size = 0;
  if (napi_get_arraybuffer_info(env, value, &memory, &size) != napi_ok) return -EINVAL;
  return out->Map(static_cast<uint8_t*>(memory), size);
}

[[nodiscard]] inline int Take(napi_env env, napi_value value, Descriptor** out) {
  return napi_unwrap(env, value, reinterpret_cast<void**>(out)) == napi_ok ? 0 : -EINVAL;
}

// Another object is in an External.
template <typename T>
[[nodiscard]] int Take(napi_env env, napi_value value, T** out) {
  return napi_get_value_external(env, value, reinterpret_cast<void**>(out)) == napi_ok ? 0 : -EINVAL;
}

[[nodiscard]] inline int Take(napi_env env, napi_value value, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return -EINVAL;
  out->resize(length);
  return napi_get_value_string_utf8(env, value, out->data(), length + 1, &length) == napi_ok ? 0 : -EINVAL;
}

// Any value, as JavaScript's conditions take it.
[[nodiscard]] inline int Take(napi_env env, napi_value value, bool* out) {
  const bool taken =
      napi_coerce_to_bool(env, value, &value) == napi_ok && napi_get_value_bool(env, value, out) == napi_ok;
  return taken ? 0 : -EINVAL;
}

template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
[[nodiscard]] int Take(napi_env env, napi_value value, T* out) {
  int64_t number = 0;
  if (napi_get_value_int64(env, value, &number) != napi_ok) return -EINVAL;
  *out = static_cast<T>(number);
  return 0;
}

[[nodiscard]] inline int Take(napi_env env, napi_value value, double* out) {
  return napi_get_value_double(env, value, out) == napi_ok ? 0 : -EINVAL;
}

// What may be null.
template <typename T>
[[nodiscard]] int Take(napi_env env, napi_value value, std::optional<T>* out) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_null) return 0;
  return Take(env, value, &out->emplace());
}

template <typename T>
napi_value RawResult(napi_env env, const T& number) {
  napi_value value = nullptr;
  napi_create_int64(env, static_cast<int64_t>(number), &value);
  return value;
}

// Calls a function with JavaScript's arguments. Returns what it returns, or -errno if these are no such.
template <typename Number, typename... Parameters>
int64_t Invoke(Number (*function)(Parameters...), napi_env env, napi_callback_info info) {
  napi_value arguments[sizeof...(Parameters)];
  size_t count = sizeof...(Parameters);
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok) return -EINVAL;
  if (count < sizeof...(Parameters)) return -EINVAL;
  std::tuple<std::decay_t<Parameters>...> taken;
  const auto take = [&](auto&... each) {
    const napi_value* next = arguments;
    int error = 0;
    (void)((error = Take(env, *next++, &each), error == 0) && ...);
    return error;
  };
  const int error = std::apply(take, taken);
  return error < 0 ? error : static_cast<int64_t>(std::apply(function, taken));
}

// A number, which may be -errno.
template <auto kFunction>
napi_value Call(napi_env env, napi_callback_info info) {
  return RawResult(env, Invoke(kFunction, env, info));
}

// Of a function that returns an fd: a Descriptor or -errno.
template <auto kFunction>
napi_value DescriptorCall(napi_env env, napi_callback_info info) {
  return Descriptor::Wrap(env, static_cast<int>(Invoke(kFunction, env, info)));
}

// For functions written with node-addon-api.

template <typename T>
T Argument(const Napi::CallbackInfo& info, size_t index) {
  T value{};
  (void)Take(info.Env(), info[index], &value);
  return value;
}

inline Napi::Value Result(const Napi::CallbackInfo& info, int result) {
  return Napi::Number::New(info.Env(), result);
}

// Of arguments, what a descriptor with a forwarder keeps alive.
inline Napi::Array KeptBy(const Napi::CallbackInfo& info, std::initializer_list<size_t> indexes) {
  const Napi::Array kept = Napi::Array::New(info.Env());
  for (const size_t index : indexes) kept.Set(kept.Length(), info[index]);
  return kept;
}

// An External that owns the object.
template <typename T>
Napi::Value Own(Napi::Env env, std::unique_ptr<T> object) {
  return Napi::External<T>::New(env, object.release(), [](Napi::Env, T* unused) { delete unused; });
}

}  // namespace tuntap
