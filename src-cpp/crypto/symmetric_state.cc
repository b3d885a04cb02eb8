#include "symmetric_state.h"

#include <cerrno>
#include <cstring>

#include "x25519.h"

namespace tuntap {
namespace {

constexpr size_t kTagSize = 16;
constexpr uint8_t kNonce[12] = {};
constexpr uint8_t kNoKey[kDerivedKeySize] = {};

}  // namespace

void SymmetricState::MixHash(ConstBytes data) {
  Blake2s digest(sizeof(hash));
  digest.Update(hash, sizeof(hash));
  digest.Update(data.data, data.size);
  digest.Finish(hash);
}

void SymmetricState::MixKey(ConstBytes input) {
  uint8_t* const outputs[] = {chaining_key, key};
  DeriveKeys(chaining_key, input.data, input.size, outputs, 2);
}

void SymmetricState::MixKeyAndHash(ConstBytes input) {
  uint8_t mixed[kDerivedKeySize];
  uint8_t* const outputs[] = {chaining_key, mixed, key};
  DeriveKeys(chaining_key, input.data, input.size, outputs, 3);
  MixHash({mixed, sizeof(mixed)});
  explicit_bzero(mixed, sizeof(mixed));
}

int SymmetricState::MixSharedSecret(const uint8_t* private_key, const uint8_t* public_key) {
  uint8_t secret[kDerivedKeySize];
  const int result = X25519(private_key, public_key, secret);
  if (result == 0) MixKey({secret, sizeof(secret)});
  explicit_bzero(secret, sizeof(secret));
  return result;
}

int SymmetricState::EncryptAndHash(ConstBytes plaintext, uint8_t* ciphertext) {
  if (memcmp(key, kNoKey, sizeof(key)) == 0) return -EINVAL;
  const int result = SealMessage(key, {kNonce, sizeof(kNonce)}, plaintext, {hash, sizeof(hash)}, ciphertext);
  explicit_bzero(key, sizeof(key));
  if (result == 0) MixHash({ciphertext, plaintext.size + kTagSize});
  return result;
}

int SymmetricState::DecryptAndHash(ConstBytes ciphertext, uint8_t* plaintext) {
  const int result = OpenMessage(key, {kNonce, sizeof(kNonce)}, ciphertext, {hash, sizeof(hash)}, plaintext);
  explicit_bzero(key, sizeof(key));
  if (result == 0) MixHash(ciphertext);
  return result;
}

}  // namespace tuntap
