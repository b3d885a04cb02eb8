#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// SipHash-1-3 (https://www.aumasson.jp/siphash/siphash.pdf) over whole 64-bit words. Under a random key
// nobody who chooses addresses and ports can make them collide.
struct HashKey {
  uint64_t words[2];

  static HashKey Random();
};

class KeyedHash {
 public:
  explicit KeyedHash(const HashKey& key)
      : v0_(key.words[0] ^ 0x736f6d6570736575),
        v1_(key.words[1] ^ 0x646f72616e646f6d),
        v2_(key.words[0] ^ 0x6c7967656e657261),
        v3_(key.words[1] ^ 0x7465646279746573) {}

  void Add(uint64_t word) {
    v3_ ^= word;
    Round();
    v0_ ^= word;
    length_ += sizeof(word);
  }

  [[nodiscard]] uint64_t Finish() {
    Add(length_ << 56);
    v2_ ^= 0xff;
    for (int i = 0; i < 3; i++) Round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  static uint64_t Rotate(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

  void Round() {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = Rotate(v1_, 13) ^ v0_;
    v3_ = Rotate(v3_, 16) ^ v2_;
    v0_ = Rotate(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = Rotate(v1_, 17) ^ v2_;
    v3_ = Rotate(v3_, 21) ^ v0_;
    v2_ = Rotate(v2_, 32);
  }

  uint64_t v0_;
  uint64_t v1_;
  uint64_t v2_;
  uint64_t v3_;
  uint64_t length_ = 0;
};

}  // namespace tuntap
