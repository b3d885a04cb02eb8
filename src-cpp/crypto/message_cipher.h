#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// A run of bytes that somebody else owns.
struct ConstBytes {
  const uint8_t* data;
  size_t size;
};

// One message by ChaCha20-Poly1305 (RFC 8439) with a nonce of 12 bytes, or by XChaCha20-Poly1305
// (draft-irtf-cfrg-xchacha) with one of 24. The key has 32 bytes. Returns 0, or -errno as Aead::Create()
// does.

// Writes ciphertext and tag, 16 bytes more than the message.
[[nodiscard]] int SealMessage(const uint8_t* key, ConstBytes nonce, ConstBytes message, ConstBytes associated,
                              uint8_t* sealed);

// Writes the message, 16 bytes less than `sealed`, or returns -EBADMSG.
[[nodiscard]] int OpenMessage(const uint8_t* key, ConstBytes nonce, ConstBytes sealed, ConstBytes associated,
                              uint8_t* message);

}  // namespace tuntap
