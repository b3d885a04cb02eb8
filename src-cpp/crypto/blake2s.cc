#include "blake2s.h"

#include <algorithm>
#include <cstring>

#include "little_endian.h"

namespace tuntap {
namespace {

constexpr uint32_t kInitial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// RFC 7693 section 2.7: which words of the block each round mixes in.
constexpr uint8_t kOrder[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

inline uint32_t RotateRight(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

inline void Mix(uint32_t* v, size_t a, size_t b, size_t c, size_t d, uint32_t x, uint32_t y) {
  v[a] += v[b] + x;
  v[d] = RotateRight(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = RotateRight(v[b] ^ v[c], 12);
  v[a] += v[b] + y;
  v[d] = RotateRight(v[d] ^ v[a], 8);
  v[c] += v[d];
  v[b] = RotateRight(v[b] ^ v[c], 7);
}

// HMAC, RFC 2104, of two pieces of data; the key has 32 bytes.
void Hmac(const uint8_t* key, const uint8_t* data, size_t size, const uint8_t* more, size_t more_size,
          uint8_t* out) {
  uint8_t pad[64];
  uint8_t inner[Blake2s::kMaxSize];
  memset(pad, 0x36, sizeof(pad));
  for (size_t i = 0; i < kDerivedKeySize; i++) pad[i] ^= key[i];
  Blake2s inside(sizeof(inner));
  inside.Update(pad, sizeof(pad));
  inside.Update(data, size);
  inside.Update(more, more_size);
  inside.Finish(inner);
  for (uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  Blake2s outside(kDerivedKeySize);
  outside.Update(pad, sizeof(pad));
  outside.Update(inner, sizeof(inner));
  outside.Finish(out);
  explicit_bzero(pad, sizeof(pad));
  explicit_bzero(inner, sizeof(inner));
}

}  // namespace

Blake2s::Blake2s(size_t digest_size, const uint8_t* key, size_t key_size) : digest_size_(digest_size) {
  memcpy(state_, kInitial, sizeof(state_));
  state_[0] ^= 0x01010000 ^ static_cast<uint32_t>(key_size << 8) ^ static_cast<uint32_t>(digest_size);
  memset(block_, 0, sizeof(block_));
  if (key_size == 0) return;
  memcpy(block_, key, key_size);
  filled_ = kBlockSize;
}

Blake2s::~Blake2s() {
  explicit_bzero(state_, sizeof(state_));
  explicit_bzero(block_, sizeof(block_));
}

void Blake2s::Update(const uint8_t* data, size_t size) {
  while (size > 0) {
    // A full block waits for more, since the last one is marked.
    if (filled_ == kBlockSize) Compress(false);
    const size_t taken = std::min(kBlockSize - filled_, size);
    memcpy(block_ + filled_, data, taken);
    filled_ += taken;
    data += taken;
    size -= taken;
  }
}

void Blake2s::Finish(uint8_t* digest) {
  Compress(true);
  for (size_t i = 0; i < digest_size_; i++) digest[i] = static_cast<uint8_t>(state_[i / 4] >> (8 * (i % 4)));
}

// RFC 7693 section 3.2.
void Blake2s::Compress(bool last) {
  counter_ += filled_;
  uint32_t words[16];
  uint32_t v[16];
  for (size_t i = 0; i < 16; i++) words[i] = LoadLittleEndian32(block_ + 4 * i);
  memcpy(v, state_, sizeof(state_));
  memcpy(v + 8, kInitial, sizeof(kInitial));
  v[12] ^= static_cast<uint32_t>(counter_);
  v[13] ^= static_cast<uint32_t>(counter_ >> 32);
  if (last) v[14] = ~v[14];
  for (const uint8_t* order : kOrder) {
    for (size_t i = 0; i < 4; i++)
      Mix(v, i, i + 4, i + 8, i + 12, words[order[2 * i]], words[order[2 * i + 1]]);
    for (size_t i = 0; i < 4; i++) {
      Mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, words[order[2 * i + 8]],
          words[order[2 * i + 9]]);
    }
  }
  for (size_t i = 0; i < 8; i++) state_[i] ^= v[i] ^ v[i + 8];
  memset(block_, 0, sizeof(block_));
  filled_ = 0;
  explicit_bzero(words, sizeof(words));
  explicit_bzero(v, sizeof(v));
}

void DeriveKeys(const uint8_t* salt, const uint8_t* input, size_t input_size, uint8_t* const* outputs,
                size_t count) {
  uint8_t secret[kDerivedKeySize];
  Hmac(salt, input, input_size, nullptr, 0, secret);
  for (size_t i = 0; i < count; i++) {
    const auto number = static_cast<uint8_t>(i + 1);
    Hmac(secret, i == 0 ? nullptr : outputs[i - 1], i == 0 ? 0 : kDerivedKeySize, &number, 1, outputs[i]);
  }
  explicit_bzero(secret, sizeof(secret));
}

}  // namespace tuntap
