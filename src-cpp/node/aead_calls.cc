#include <cerrno>
#include <cstring>

#include "aead_handle.h"
#include "arguments.h"
#include "crypto/aead.h"
#include "crypto/bundled_ciphers.h"

// What JavaScript calls to seal and open batches.

namespace tuntap {
namespace {

// newAead(cipher, key, layout, threads): an External or -errno. The layout is a Uint32Array of headerLength,
// counterOffset, associatedOffset, associatedLength, and the nonce's prefix as four bytes in memory's order.
// A SealingPool of that many threads may seal by it.
Napi::Value NewAeadCall(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[1].IsTypedArray() || !info[2].IsTypedArray()) return Result(info, -EINVAL);
  const auto key = info[1].As<Napi::Uint8Array>();
  const auto numbers = info[2].As<Napi::Uint32Array>();
  if (numbers.ElementLength() != sizeof(AeadLayout) / 4) return Result(info, -EINVAL);
  AeadLayout layout;
  memcpy(&layout, numbers.Data(), sizeof(layout));
  std::unique_ptr<Aead> aead;
  const auto cipher = static_cast<AeadCipher>(Argument<int>(info, 0));
  const int result =
      Aead::Create(cipher, key.Data(), key.ByteLength(), layout, 1 + Argument<size_t>(info, 3), &aead);
  if (result < 0) return Result(info, result);
  auto* handle = new AeadHandle{std::move(aead)};
  return Napi::External<AeadHandle>::New(env, handle, [](Napi::Env, AeadHandle* unused) { delete unused; });
}

// aeadSource(aead): 0 for OpenSSL, 1 for the bundled ciphers.
Napi::Value AeadSourceCall(const Napi::CallbackInfo& info) {
  const auto* handle = info[0].As<Napi::External<AeadHandle>>().Data();
  return Result(info, handle->aead == nullptr ? -EINVAL : static_cast<int>(handle->aead->source()));
}

// cipherLevels(): the bundled ciphers that this processor can run, by its instructions, the fastest first.
Napi::Value CipherLevelsCall(const Napi::CallbackInfo& info) {
  Napi::Array levels = Napi::Array::New(info.Env());
  for (auto* level = BundledLevels(); *level != nullptr; level++)
    levels.Set(levels.Length(), (*level)->level);
  return levels;
}

// disposeAead(aead): wipes its keys.
Napi::Value DisposeAeadCall(const Napi::CallbackInfo& info) {
  info[0].As<Napi::External<AeadHandle>>().Data()->aead.reset();
  return info.Env().Undefined();
}

// What sealPackets and openPackets are both given: (aead, memory, start, end, …).
struct Packets {
  AeadHandle* handle = nullptr;
  BatchView batch;
  uint32_t start = 0;
  uint32_t end = 0;

  // Returns 0, or -errno if the arguments don't fit together.
  int Take(napi_env env, const napi_value* arguments) {
    handle = ExternalOf<AeadHandle>(env, arguments[0]);
    if (handle == nullptr || handle->aead == nullptr || !TakeUint(env, arguments[2], &start) ||
        !TakeUint(env, arguments[3], &end)) {
      return -EINVAL;
    }
    const int error = TakeBatch(env, arguments[1], &batch);
    if (error < 0) return error;
    return start <= end && end <= batch.count() ? 0 : -EINVAL;
  }
};

// sealPackets(aead, memory, start, end, header, counter, multiple, limit): 0 or -errno.
napi_value SealPacketsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[8];
  Packets given;
  void* header = nullptr;
  size_t header_length = 0;
  int64_t counter = 0;
  Padding padding;
  if (!TakeArguments(env, info, arguments) ||
      napi_get_buffer_info(env, arguments[4], &header, &header_length) != napi_ok ||
      napi_get_value_int64(env, arguments[5], &counter) != napi_ok ||
      !TakeUint(env, arguments[6], &padding.multiple) || !TakeUint(env, arguments[7], &padding.limit)) {
    return RawResult(env, -EINVAL);
  }
  const int error = given.Take(env, arguments);
  if (error < 0) return RawResult(env, error);
  if (header_length != given.handle->aead->layout().header_length) return RawResult(env, -EINVAL);
  given.batch.Store(given.handle->aead->Seal(given.batch, given.start, given.end,
                                             static_cast<const uint8_t*>(header),
                                             static_cast<uint64_t>(counter), padding));
  return RawResult(env, 0);
}

// openPackets(aead, memory, start, end): 0 or -errno.
napi_value OpenPacketsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Packets given;
  if (!TakeArguments(env, info, arguments)) return RawResult(env, -EINVAL);
  const int error = given.Take(env, arguments);
  if (error < 0) return RawResult(env, error);
  given.batch.Store(given.handle->aead->Open(given.batch, given.start, given.end));
  return RawResult(env, 0);
}

}  // namespace

void RegisterAeadCalls(Napi::Env env, Napi::Object exports) {
  Export<NewAeadCall>(env, exports, "newAead");
  Export<AeadSourceCall>(env, exports, "aeadSource");
  Export<CipherLevelsCall>(env, exports, "cipherLevels");
  Export<DisposeAeadCall>(env, exports, "disposeAead");
  ExportRaw(env, exports, "sealPackets", SealPacketsCall);
  ExportRaw(env, exports, "openPackets", OpenPacketsCall);
}

}  // namespace tuntap
