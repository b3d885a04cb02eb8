#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// BLAKE2s, RFC 7693, plain or keyed. Its state is wiped when it goes.
class Blake2s {
 public:
  static constexpr size_t kMaxSize = 32;  // of a digest, and of a key

  // `digest_size` is 1 to 32; with a key of up to 32 bytes the digest is a MAC.
  explicit Blake2s(size_t digest_size, const uint8_t* key = nullptr, size_t key_size = 0);
  ~Blake2s();

  void Update(const uint8_t* data, size_t size);
  void Finish(uint8_t* digest);

 private:
  static constexpr size_t kBlockSize = 64;

  void Compress(bool last);

  uint32_t state_[8];
  uint8_t block_[kBlockSize];
  size_t filled_ = 0;
  uint64_t counter_ = 0;  // bytes taken in
  size_t digest_size_;
};

constexpr size_t kDerivedKeySize = 32;

// HKDF (RFC 5869) over HMAC-BLAKE2s with a salt of 32 bytes, as Noise derives keys: fills `count` outputs of
// 32 bytes. An output may be the salt.
void DeriveKeys(const uint8_t* salt, const uint8_t* input, size_t input_size, uint8_t* const* outputs,
                size_t count);

}  // namespace tuntap
