#include <sys/random.h>

#include <cerrno>

#include "arguments.h"
#include "crypto/blake2s.h"
#include "crypto/message_cipher.h"
#include "crypto/symmetric_state.h"
#include "crypto/x25519.h"
#include "linux/uninterrupted.h"

// What JavaScript calls for each message of a handshake. Bytes are Uint8Arrays; a function that returns a
// number returns 0 or -errno, and -EINVAL for arguments of other types or lengths.

namespace tuntap {
namespace {

constexpr size_t kKeySize = 32;
constexpr size_t kMaxArguments = 8;

// The arguments of a function that takes only Uint8Arrays, and no more than kMaxArguments.
struct BytesArguments {
  size_t count = kMaxArguments;
  Bytes values[kMaxArguments];

  [[nodiscard]] bool Take(napi_env env, napi_callback_info info) {
    napi_value arguments[kMaxArguments];
    if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok) return false;
    if (count > kMaxArguments) return false;
    for (size_t i = 0; i < count; i++) {
      if (tuntap::Take(env, arguments[i], &values[i]) < 0) return false;
    }
    return true;
  }

  [[nodiscard]] bool AreKeys(size_t from, size_t to) const {
    for (size_t i = from; i < to; i++) {
      if (values[i].size != kKeySize) return false;
    }
    return count >= to;
  }

  [[nodiscard]] ConstBytes At(size_t index) const { return {values[index].data, values[index].size}; }
};

constexpr size_t kMaxRandom = 256;  // which getrandom(2) gives at once

// randomBytes(out): up to kMaxRandom bytes. node:crypto takes some four times as long for so few.
napi_value RandomBytesCall(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || given.count < 1) return RawResult(env, -EINVAL);
  const Bytes& out = given.values[0];
  if (out.size > kMaxRandom) return RawResult(env, -EINVAL);
  const ssize_t got = Uninterrupted([&] { return getrandom(out.data, out.size, 0); });
  if (got < 0) return RawResult(env, got);
  return RawResult(env, static_cast<size_t>(got) == out.size ? 0 : -EIO);
}

// blake2s(out, key, …parts): the digest, or the MAC, of all parts. `out` may be one of them.
napi_value Blake2sCall(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || given.count < 2) return RawResult(env, -EINVAL);
  const Bytes& out = given.values[0];
  const Bytes& key = given.values[1];
  if (out.size == 0 || out.size > Blake2s::kMaxSize || key.size > Blake2s::kMaxSize)
    return RawResult(env, -EINVAL);
  Blake2s hash(out.size, key.data, key.size);
  for (size_t i = 2; i < given.count; i++) hash.Update(given.values[i].data, given.values[i].size);
  hash.Finish(out.data);
  return RawResult(env, 0);
}

// deriveKeys(salt, input, …outputs)
napi_value DeriveKeysCall(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || given.count < 3 || !given.AreKeys(0, 1) || !given.AreKeys(2, given.count)) {
    return RawResult(env, -EINVAL);
  }
  uint8_t* outputs[kMaxArguments];
  for (size_t i = 2; i < given.count; i++) outputs[i - 2] = given.values[i].data;
  DeriveKeys(given.values[0].data, given.values[1].data, given.values[1].size, outputs, given.count - 2);
  return RawResult(env, 0);
}

// x25519PublicKey(out, privateKey)
napi_value X25519PublicKeyCall(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || !given.AreKeys(0, 2)) return RawResult(env, -EINVAL);
  return RawResult(env, X25519PublicKey(given.values[1].data, given.values[0].data));
}

// x25519(out, privateKey, publicKey): -EDOM for a public key of low order.
napi_value X25519Call(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || !given.AreKeys(0, 3)) return RawResult(env, -EINVAL);
  return RawResult(env, X25519(given.values[1].data, given.values[2].data, given.values[0].data));
}

using MessageFunction = int (*)(const uint8_t*, ConstBytes, ConstBytes, ConstBytes, uint8_t*);

// sealMessage(out, key, nonce, message, associatedData) and openMessage(out, key, nonce, sealed,
// associatedData). The message is 16 bytes shorter than what is sealed.
template <MessageFunction kFunction, bool kSeals>
napi_value MessageCall(napi_env env, napi_callback_info info) {
  BytesArguments given;
  if (!given.Take(env, info) || given.count < 5 || !given.AreKeys(1, 2)) return RawResult(env, -EINVAL);
  const size_t nonce = given.values[2].size;
  const size_t message = given.values[kSeals ? 3 : 0].size;
  const size_t sealed = given.values[kSeals ? 0 : 3].size;
  if ((nonce != 12 && nonce != 24) || sealed != message + 16) return RawResult(env, -EINVAL);
  return RawResult(
      env, kFunction(given.values[1].data, given.At(2), given.At(3), given.At(4), given.values[0].data));
}

// The functions of a SymmetricState, which is the first argument.
struct StateArguments : BytesArguments {
  [[nodiscard]] SymmetricState* TakeState(napi_env env, napi_callback_info info, size_t expected) {
    if (!Take(env, info) || count != expected || values[0].size != sizeof(SymmetricState)) return nullptr;
    return reinterpret_cast<SymmetricState*>(values[0].data);
  }
};

// mixHash(state, data), mixKey(state, input) and mixKeyAndHash(state, input)
template <void (SymmetricState::*kMix)(ConstBytes)>
napi_value MixCall(napi_env env, napi_callback_info info) {
  StateArguments given;
  SymmetricState* const state = given.TakeState(env, info, 2);
  if (state == nullptr) return RawResult(env, -EINVAL);
  (state->*kMix)(given.At(1));
  return RawResult(env, 0);
}

// mixSharedSecret(state, privateKey, publicKey)
napi_value MixSharedSecretCall(napi_env env, napi_callback_info info) {
  StateArguments given;
  SymmetricState* const state = given.TakeState(env, info, 3);
  if (state == nullptr || !given.AreKeys(1, 3)) return RawResult(env, -EINVAL);
  return RawResult(env, state->MixSharedSecret(given.values[1].data, given.values[2].data));
}

// encryptAndHash(state, plaintext, out) and decryptAndHash(state, ciphertext, out)
template <int (SymmetricState::*kFunction)(ConstBytes, uint8_t*), bool kEncrypts>
napi_value TextCall(napi_env env, napi_callback_info info) {
  StateArguments given;
  SymmetricState* const state = given.TakeState(env, info, 3);
  if (state == nullptr) return RawResult(env, -EINVAL);
  const size_t plaintext = given.values[kEncrypts ? 1 : 2].size;
  const size_t ciphertext = given.values[kEncrypts ? 2 : 1].size;
  if (ciphertext != plaintext + 16) return RawResult(env, -EINVAL);
  return RawResult(env, (state->*kFunction)(given.At(1), given.values[2].data));
}

}  // namespace

void RegisterHandshakeCalls(Napi::Env env, Napi::Object exports) {
  Export<RandomBytesCall>(env, exports, "randomBytes");
  Export<Blake2sCall>(env, exports, "blake2s");
  Export<DeriveKeysCall>(env, exports, "deriveKeys");
  Export<X25519PublicKeyCall>(env, exports, "x25519PublicKey");
  Export<X25519Call>(env, exports, "x25519");
  Export<MessageCall<SealMessage, true>>(env, exports, "sealMessage");
  Export<MessageCall<OpenMessage, false>>(env, exports, "openMessage");
  Export<MixCall<&SymmetricState::MixHash>>(env, exports, "mixHash");
  Export<MixCall<&SymmetricState::MixKey>>(env, exports, "mixKey");
  Export<MixCall<&SymmetricState::MixKeyAndHash>>(env, exports, "mixKeyAndHash");
  Export<MixSharedSecretCall>(env, exports, "mixSharedSecret");
  Export<TextCall<&SymmetricState::EncryptAndHash, true>>(env, exports, "encryptAndHash");
  Export<TextCall<&SymmetricState::DecryptAndHash, false>>(env, exports, "decryptAndHash");
}

}  // namespace tuntap
