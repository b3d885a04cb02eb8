#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

enum class AeadCipher { kChaCha20Poly1305, kAes128Gcm, kAes256Gcm };

[[nodiscard]] inline size_t KeyLength(AeadCipher cipher) {
  return cipher == AeadCipher::kAes128Gcm ? 16 : 32;
}

// Encrypts and decrypts single packets in place, with one key; nonces have 12 bytes. Its classes are the
// sources that a cipher may come from. A key is wiped when its object goes.
class PacketCipher {
 public:
  static constexpr size_t kTagSize = 16;
  static constexpr size_t kNonceSize = 12;

  PacketCipher() = default;
  virtual ~PacketCipher() = default;
  PacketCipher(const PacketCipher&) = delete;
  PacketCipher& operator=(const PacketCipher&) = delete;

  // Encrypts `length` bytes and writes the tag behind them.
  [[nodiscard]] virtual bool Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                                  uint8_t* text, size_t length) = 0;
  // Decrypts `length` bytes, which the tag follows. Returns false if they are not authentic: what the text is
  // then is not to be used.
  [[nodiscard]] virtual bool Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                                  uint8_t* text, size_t length) = 0;
};

}  // namespace tuntap
