#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tuntap {

// ChaCha20-Poly1305 (RFC 8439) out of OpenSSL's two primitives, ChaCha20_ctr32() and Poly1305_*(), a packet a
// call. EVP calls the first three times for a packet, twice for a single block, which costs as much as eight.
// This class puts the block that gives the Poly1305 key in front of the text's first ones. Node exports the
// primitives, but they are no public API: Aead uses EVP if the process lacks them, or if they disagree with
// EVP.
class ChaCha20Poly1305 {
 public:
  static constexpr size_t kKeySize = 32;
  static constexpr size_t kNonceSize = 12;
  static constexpr size_t kTagSize = 16;

  // Returns nullptr if the process does not have the primitives.
  static std::unique_ptr<ChaCha20Poly1305> Create(const uint8_t* key);
  ~ChaCha20Poly1305();  // wipes the key

  // Encrypts `length` bytes in place and writes the tag.
  void Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length, uint8_t* text,
            size_t length, uint8_t* tag);
  // Decrypts in place and returns true, or leaves the text as it is and returns false.
  [[nodiscard]] bool Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                          uint8_t* text, size_t length, const uint8_t* tag);

  ChaCha20Poly1305(const ChaCha20Poly1305&) = delete;
  ChaCha20Poly1305& operator=(const ChaCha20Poly1305&) = delete;

 private:
  static constexpr size_t kBlockSize = 64;
  static constexpr size_t kFirstBlocks = 8;  // what vector code computes at once
  static constexpr size_t kFirstText = (kFirstBlocks - 1) * kBlockSize;

  ChaCha20Poly1305() = default;
  size_t BeginText(const uint8_t* nonce, const uint8_t* text, size_t length);
  void EndText(size_t first, uint8_t* text, size_t length);
  void MakeTag(const uint8_t* associated, size_t associated_length, const uint8_t* text, size_t length,
               uint8_t* tag);

  uint32_t key_[kKeySize / 4];
  uint32_t counter_[4];  // the block's number, and the nonce
  // Block 0, whose first half is the Poly1305 key, and the text's first blocks; wiped after each packet.
  uint8_t first_[kFirstBlocks * kBlockSize];
  std::unique_ptr<uint8_t[]> poly1305_;  // OpenSSL's state
};

}  // namespace tuntap
