#pragma once

#include <memory>

#include "packet_cipher.h"

namespace tuntap {

// A cipher by EVP of the OpenSSL that the process has. Its functions are looked up when one is made, so that
// the addon loads without them, and each cipher works without the others.
class EvpCipher final : public PacketCipher {
 public:
  // Returns 0 and sets `*out`, or -errno: -ENOSYS if the process has no OpenSSL, -ENOTSUP if its OpenSSL
  // lacks the cipher.
  [[nodiscard]] static int Create(AeadCipher cipher, const uint8_t* key, std::unique_ptr<PacketCipher>* out);
  ~EvpCipher() override;

  [[nodiscard]] bool Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                          uint8_t* text, size_t length) override;
  [[nodiscard]] bool Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                          uint8_t* text, size_t length) override;

 private:
  EvpCipher() = default;

  void* seal_ = nullptr;  // EVP_CIPHER_CTX, which wipes its key when it is freed
  void* open_ = nullptr;
};

}  // namespace tuntap
