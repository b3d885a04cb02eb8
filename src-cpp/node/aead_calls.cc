#include <cerrno>
#include <cstring>

#include "bindings.h"
#include "crypto/aead.h"

// What JavaScript calls to seal and open batches.

namespace tuntap {
namespace {

// An Aead as JavaScript holds it. dispose() empties it, so that the keys are gone before the garbage
// collector comes by.
struct Holder {
  std::unique_ptr<Aead> aead;
  uint32_t header_length;
};

// newAead(cipher, key, layout): an External or -errno. The layout is a Uint32Array of headerLength,
// counterOffset, associatedOffset, associatedLength, and the nonce's prefix as four bytes in memory's order.
Napi::Value NewAeadCall(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[1].IsTypedArray() || !info[2].IsTypedArray()) return Napi::Number::New(env, -EINVAL);
  const auto key = info[1].As<Napi::Uint8Array>();
  const auto numbers = info[2].As<Napi::Uint32Array>();
  if (numbers.ElementLength() != sizeof(AeadLayout) / 4) return Napi::Number::New(env, -EINVAL);
  AeadLayout layout;
  memcpy(&layout, numbers.Data(), sizeof(layout));
  std::unique_ptr<Aead> aead;
  const auto cipher = static_cast<AeadCipher>(info[0].As<Napi::Number>().Int32Value());
  const int result = Aead::Create(cipher, key.Data(), key.ByteLength(), layout, &aead);
  if (result < 0) return Napi::Number::New(env, result);
  auto* holder = new Holder{std::move(aead), layout.header_length};
  return Napi::External<Holder>::New(env, holder, [](Napi::Env, Holder* unused) { delete unused; });
}

// disposeAead(aead): wipes its keys.
Napi::Value DisposeAeadCall(const Napi::CallbackInfo& info) {
  info[0].As<Napi::External<Holder>>().Data()->aead.reset();
  return info.Env().Undefined();
}

struct BatchArguments {
  Holder* holder = nullptr;
  Batch batch;
  uint32_t start = 0;
  uint32_t end = 0;

  // From (aead, memory, start, end, …). Returns 0, or -errno where they don't fit together.
  int Take(const Napi::CallbackInfo& info) {
    napi_env env = info.Env();
    void* memory = nullptr;
    size_t size = 0;
    void* external = nullptr;
    if (napi_get_value_external(env, info[0], &external) != napi_ok ||
        napi_get_arraybuffer_info(env, info[1], &memory, &size) != napi_ok ||
        napi_get_value_uint32(env, info[2], &start) != napi_ok ||
        napi_get_value_uint32(env, info[3], &end) != napi_ok) {
      return -EINVAL;
    }
    holder = static_cast<Holder*>(external);
    if (holder->aead == nullptr) return -EINVAL;
    const int error = batch.Take(static_cast<uint8_t*>(memory), size);
    if (error < 0) return error;
    return start <= end && end <= batch.header()->count ? 0 : -EINVAL;
  }
};

// sealPackets(aead, memory, start, end, header, counter): 0 or -errno.
Napi::Value SealPacketsCall(const Napi::CallbackInfo& info) {
  BatchArguments given;
  const int error = info[4].IsTypedArray() ? given.Take(info) : -EINVAL;
  if (error < 0) return Napi::Number::New(info.Env(), error);
  const auto header = info[4].As<Napi::Uint8Array>();
  if (header.ByteLength() != given.holder->header_length) return Napi::Number::New(info.Env(), -EINVAL);
  const int64_t counter = info[5].As<Napi::Number>().Int64Value();
  given.holder->aead->Seal(given.batch, given.start, given.end, header.Data(),
                           static_cast<uint64_t>(counter));
  return Napi::Number::New(info.Env(), 0);
}

// openPackets(aead, memory, start, end): 0 or -errno.
Napi::Value OpenPacketsCall(const Napi::CallbackInfo& info) {
  BatchArguments given;
  const int error = given.Take(info);
  if (error < 0) return Napi::Number::New(info.Env(), error);
  given.holder->aead->Open(given.batch, given.start, given.end);
  return Napi::Number::New(info.Env(), 0);
}

}  // namespace

void RegisterAeadBinding(Napi::Env env, Napi::Object exports) {
  Export<NewAeadCall>(env, exports, "newAead");
  Export<DisposeAeadCall>(env, exports, "disposeAead");
  Export<SealPacketsCall>(env, exports, "sealPackets");
  Export<OpenPacketsCall>(env, exports, "openPackets");
}

}  // namespace tuntap
