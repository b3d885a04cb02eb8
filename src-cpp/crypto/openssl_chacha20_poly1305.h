#pragma once

#include <memory>

#include "packet_cipher.h"

namespace tuntap {

// ChaCha20-Poly1305 (RFC 8439) out of OpenSSL's two primitives, ChaCha20_ctr32() and Poly1305_*(), a packet a
// call. EVP calls the first three times for a packet, twice for a single block, which costs as much as eight.
// This class puts the block that gives the Poly1305 key in front of the text's first ones, and computes these
// by code of its own where the processor has AVX-512. Node exports the primitives, but they are no public
// API.
class OpensslChaCha20Poly1305 final : public PacketCipher {
 public:
  // Returns nullptr if the process lacks the primitives, or if they do not give what its EVP gives.
  static std::unique_ptr<PacketCipher> Create(const uint8_t* key);
  ~OpensslChaCha20Poly1305() override;

  [[nodiscard]] bool Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                          uint8_t* text, size_t length) override;
  [[nodiscard]] bool Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                          uint8_t* text, size_t length) override;

 private:
  static constexpr size_t kKeySize = 32;
  static constexpr size_t kBlockSize = 64;
  static constexpr size_t kFirstBlocks = 8;  // what vector code computes at once
  static constexpr size_t kFirstText = (kFirstBlocks - 1) * kBlockSize;

  explicit OpensslChaCha20Poly1305(const uint8_t* key);
  [[nodiscard]] static bool AgreesWithEvp();
  size_t BeginText(const uint8_t* nonce, const uint8_t* text, size_t length, uint8_t* out);
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
