#pragma once

#include <napi.h>

#include <string>
#include <type_traits>
#include <utility>

#include "descriptor.h"

// What the functions that JavaScript calls have in common. Those that set something up are written with
// node-addon-api. Those that are called for each batch use Node-API itself, since CallbackInfo's bookkeeping
// costs as much as the call; so do callbacks that may run while a worker is being terminated, where
// node-addon-api ends the process. TypeScript checks the arguments' types, C++ memory safety.

namespace tuntap {

void RegisterDeviceCalls(Napi::Env env, Napi::Object exports);
void RegisterNetworkCalls(Napi::Env env, Napi::Object exports);
void RegisterUdpCalls(Napi::Env env, Napi::Object exports);
void RegisterAeadCalls(Napi::Env env, Napi::Object exports);
void RegisterSealingCalls(Napi::Env env, Napi::Object exports);
void RegisterRelayCalls(Napi::Env env, Napi::Object exports);
void RegisterTunnelCalls(Napi::Env env, Napi::Object exports);
void RegisterHandshakeCalls(Napi::Env env, Napi::Object exports);
void RegisterInterceptCalls(Napi::Env env, Napi::Object exports);

template <Napi::Value (*kFunction)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<kFunction>(env, name));
}

// The memory of a Uint8Array, until JavaScript runs again.
struct Bytes {
  uint8_t* data;
  size_t size;
};

template <typename T>
T Argument(const Napi::CallbackInfo& info, size_t index) {
  if constexpr (std::is_same_v<T, Bytes>) {
    auto array = info[index].As<Napi::Uint8Array>();
    return {array.Data(), array.ByteLength()};
  } else if constexpr (std::is_same_v<T, std::string>) {
    return info[index].As<Napi::String>().Utf8Value();
  } else if constexpr (std::is_same_v<T, bool>) {
    return info[index].ToBoolean();
  } else {
    return static_cast<T>(info[index].As<Napi::Number>().Int64Value());
  }
}

template <typename... Parameters, size_t... kIndexes>
int Invoke(int (*function)(Parameters...), const Napi::CallbackInfo& info, std::index_sequence<kIndexes...>) {
  return function(Argument<std::decay_t<Parameters>>(info, kIndexes)...);
}

template <typename... Parameters>
int Invoke(int (*function)(Parameters...), const Napi::CallbackInfo& info) {
  return Invoke(function, info, std::index_sequence_for<Parameters...>{});
}

inline Napi::Value Result(const Napi::CallbackInfo& info, int result) {
  return Napi::Number::New(info.Env(), result);
}

// Calls a function with JavaScript's arguments: a number, which may be -errno.
template <auto kFunction>
Napi::Value NumberCall(const Napi::CallbackInfo& info) {
  return Result(info, Invoke(kFunction, info));
}

// The same of a function that returns an fd: a Descriptor or -errno.
template <auto kFunction>
Napi::Value DescriptorCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), Invoke(kFunction, info));
}

// Node-API itself.

inline void ExportRaw(Napi::Env env, Napi::Object exports, const char* name, napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) == napi_ok) {
    exports.Set(name, Napi::Value(env, value));
  }
}

template <typename T>
napi_value RawResult(napi_env env, const T& number) {
  napi_value value = nullptr;
  napi_create_int64(env, static_cast<int64_t>(number), &value);
  return value;
}

// The arguments of a function that takes `kCount`; false if it was given fewer.
template <size_t kCount>
[[nodiscard]] bool TakeArguments(napi_env env, napi_callback_info info, napi_value (&arguments)[kCount]) {
  size_t count = kCount;
  return napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) == napi_ok && count >= kCount;
}

template <typename T>
[[nodiscard]] bool Unwrap(napi_env env, napi_value value, T** object) {
  return napi_unwrap(env, value, reinterpret_cast<void**>(object)) == napi_ok;
}

[[nodiscard]] inline bool TakeUint(napi_env env, napi_value value, uint32_t* out) {
  return napi_get_value_uint32(env, value, out) == napi_ok;
}

[[nodiscard]] inline bool TakeBytes(napi_env env, napi_value value, Bytes* out) {
  napi_typedarray_type type;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &out->size, &data, nullptr, nullptr) != napi_ok)
    return false;
  out->data = static_cast<uint8_t*>(data);
  return type == napi_uint8_array;
}

// Maps the batch in an ArrayBuffer, which JavaScript can detach at any time. Returns 0 or -errno.
[[nodiscard]] inline int TakeBatch(napi_env env, napi_value value, BatchView* batch) {
  void* memory = nullptr;
  size_t size = 0;
  if (napi_get_arraybuffer_info(env, value, &memory, &size) != napi_ok) return -EINVAL;
  return batch->Map(static_cast<uint8_t*>(memory), size);
}

[[nodiscard]] inline bool IsNull(napi_env env, napi_value value) {
  napi_valuetype kind;
  return napi_typeof(env, value, &kind) == napi_ok && kind == napi_null;
}

template <typename T>
[[nodiscard]] T* ExternalOf(napi_env env, napi_value value) {
  void* data = nullptr;
  return napi_get_value_external(env, value, &data) == napi_ok ? static_cast<T*>(data) : nullptr;
}

// The bytes of a typed array, or nullptr if it has fewer than `least`.
[[nodiscard]] inline uint8_t* BytesOf(napi_env env, napi_value value, size_t least) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok)
    return nullptr;
  const size_t size = type == napi_uint32_array ? 4 * length : length;
  return size < least ? nullptr : static_cast<uint8_t*>(data);
}

}  // namespace tuntap
