#pragma once

#include <cstdint>

namespace tuntap {

// X25519 (RFC 7748) by the OpenSSL that the process has, else by the bundled one. Keys and secrets have 32
// bytes. Each returns 0 or -errno: -ENOSYS if there is neither.

// The public key of a private one, which need not be clamped.
[[nodiscard]] int X25519PublicKey(const uint8_t* private_key, uint8_t* public_key);

// The shared secret of two keys. -EDOM if the public key is a point of low order: the secret would be zero.
[[nodiscard]] int X25519(const uint8_t* private_key, const uint8_t* public_key, uint8_t* secret);

}  // namespace tuntap
