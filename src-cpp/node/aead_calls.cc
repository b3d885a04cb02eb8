#include <cerrno>

#include "arguments.h"
#include "crypto/aead.h"
#include "crypto/bundled_ciphers.h"

// What JavaScript calls to seal and open batches.

namespace tuntap {
namespace {

// newAead(cipher, key, layout, threads): an External or -errno. The layout is an AeadLayout. A SealingPool of
// that many threads may seal by it.
Napi::Value NewAeadCall(const Napi::CallbackInfo& info) {
  const auto key = Argument<Bytes>(info, 1);
  const auto layout = Argument<Rows<AeadLayout>>(info, 2);
  if (layout.size != 1) return Result(info, -EINVAL);
  std::unique_ptr<Aead> aead;
  const int result = Aead::Create(static_cast<AeadCipher>(Argument<int>(info, 0)), key.data, key.size,
                                  *layout.data, 1 + Argument<size_t>(info, 3), &aead);
  if (result < 0) return Result(info, result);
  return Own(info.Env(), std::make_unique<AeadHandle>(std::move(aead)));
}

// 0 for OpenSSL, 1 for the bundled ciphers.
int AeadSource(AeadHandle* handle) {
  return *handle == nullptr ? -EINVAL : static_cast<int>((*handle)->source());
}

// cipherLevels(): the bundled ciphers that this processor can run, by its instructions, the fastest first.
Napi::Value CipherLevelsCall(const Napi::CallbackInfo& info) {
  Napi::Array levels = Napi::Array::New(info.Env());
  for (auto* level = BundledLevels(); *level != nullptr; level++)
    levels.Set(levels.Length(), (*level)->level);
  return levels;
}

// Wipes its keys.
int DisposeAead(AeadHandle* handle) {
  handle->reset();
  return 0;
}

bool IsRange(const BatchView& batch, uint32_t start, uint32_t end) {
  return start <= end && end <= batch.count();
}

int SealPackets(AeadHandle* handle, const BatchView& batch, uint32_t start, uint32_t end, Bytes header,
                uint64_t counter, uint32_t multiple, uint32_t limit) {
  if (*handle == nullptr || !IsRange(batch, start, end)) return -EINVAL;
  if (header.size != (*handle)->layout().header_length) return -EINVAL;
  batch.Store((*handle)->Seal(batch, start, end, header.data, counter, {multiple, limit}));
  return 0;
}

int OpenPackets(AeadHandle* handle, const BatchView& batch, uint32_t start, uint32_t end) {
  if (*handle == nullptr || !IsRange(batch, start, end)) return -EINVAL;
  batch.Store((*handle)->Open(batch, start, end));
  return 0;
}

}  // namespace

void RegisterAeadCalls(Napi::Env env, Napi::Object exports) {
  Export<NewAeadCall>(env, exports, "newAead");
  Export<Call<AeadSource>>(env, exports, "aeadSource");
  Export<CipherLevelsCall>(env, exports, "cipherLevels");
  Export<Call<DisposeAead>>(env, exports, "disposeAead");
  Export<Call<SealPackets>>(env, exports, "sealPackets");
  Export<Call<OpenPackets>>(env, exports, "openPackets");
}

}  // namespace tuntap
