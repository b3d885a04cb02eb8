#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "packet_cipher.h"

namespace tuntap {

// Ciphers of our own, for a process without OpenSSL: src-zig/, which `npm run prebuild` compiles once for
// each level of processors and links in. A build by another compiler has none of them. The level "vaes" has
// the AES-GCM of aes_gcm_vaes.cc and the rest of "avx2".

// What src-zig/cipher.zig exports for a level. A state is aligned to 64 bytes.
struct BundledCipher {
  void (*init)(void* state, const uint8_t* key);
  void (*seal)(const void* state, const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
               uint8_t* text, size_t length);
  bool (*open)(const void* state, const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
               uint8_t* text, size_t length);
};

struct BundledCiphers {
  const char* level;
  size_t state_size;
  BundledCipher ciphers[3];  // by AeadCipher; AES-GCM is null where the level has no instructions for it
};

// The levels that this processor can run, the fastest first, up to a nullptr. Empty if this build has none.
[[nodiscard]] const BundledCiphers* const* BundledLevels();

// Returns 0 and sets `*out`, or -errno: -ENOSYS if this build has no ciphers, -ENODEV if this processor has
// no instructions for AES. `level` names one for a test; nullptr: the fastest.
[[nodiscard]] int CreateBundledCipher(AeadCipher cipher, const uint8_t* key, const char* level,
                                      std::unique_ptr<PacketCipher>* out);

// src-zig/handshake.zig: X25519 of RFC 7748, with 32 bytes each. Returns 0 or -errno: -ENOSYS if this build
// has none, -EDOM if the secret would be zero.
[[nodiscard]] int BundledX25519(const uint8_t* private_key, const uint8_t* public_key, uint8_t* secret);

}  // namespace tuntap
