#pragma once

#include <cstdint>

#include "blake2s.h"
#include "message_cipher.h"

namespace tuntap {

// The SymmetricState of Noise, revision 34 section 5.2, for 25519, ChaChaPoly and BLAKE2s: all that was sent
// in a handshake is mixed into it. It lies in memory of the caller, who wipes it.
//
// A key that was mixed in encrypts or decrypts once, as in WireGuard: the nonce is 0, and the key is gone
// afterwards. Without a key, which has zeros then, nothing is encrypted.
struct SymmetricState {
  uint8_t chaining_key[kDerivedKeySize];
  uint8_t hash[kDerivedKeySize];
  uint8_t key[kDerivedKeySize];

  void MixHash(ConstBytes data);
  void MixKey(ConstBytes input);
  void MixKeyAndHash(ConstBytes input);

  // MixKey() of the shared secret of two keys. Returns 0, or -errno as X25519() does.
  [[nodiscard]] int MixSharedSecret(const uint8_t* private_key, const uint8_t* public_key);

  // Both return 0, or -errno as SealMessage() and OpenMessage() do; -EINVAL without a key to encrypt by.
  [[nodiscard]] int EncryptAndHash(ConstBytes plaintext, uint8_t* ciphertext);
  [[nodiscard]] int DecryptAndHash(ConstBytes ciphertext, uint8_t* plaintext);
};

}  // namespace tuntap
