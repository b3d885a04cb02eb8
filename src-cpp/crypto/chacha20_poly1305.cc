#include "chacha20_poly1305.h"

#include <algorithm>
#include <cstring>

#include "little_endian.h"
#include "process_symbol.h"

namespace tuntap {
namespace {

// crypto/chacha.h and crypto/poly1305.h of OpenSSL, the same since 1.1.0.
struct Primitives {
  void (*chacha20)(uint8_t* out, const uint8_t* in, size_t length, const uint32_t key[8],
                   const uint32_t counter[4]) = ProcessSymbol("ChaCha20_ctr32");
  size_t (*poly1305_size)() = ProcessSymbol("Poly1305_ctx_size");
  void (*poly1305_init)(void* state, const uint8_t key[32]) = ProcessSymbol("Poly1305_Init");
  void (*poly1305_update)(void* state, const uint8_t* in, size_t length) = ProcessSymbol("Poly1305_Update");
  // It wipes the state, too.
  void (*poly1305_final)(void* state, uint8_t tag[16]) = ProcessSymbol("Poly1305_Final");

  bool complete = chacha20 && poly1305_size && poly1305_init && poly1305_update && poly1305_final;
};

const Primitives& ThePrimitives() {
  static const Primitives primitives{};
  return primitives;
}

}  // namespace

std::unique_ptr<ChaCha20Poly1305> ChaCha20Poly1305::Create(const uint8_t* key) {
  if (!ThePrimitives().complete) return nullptr;
  std::unique_ptr<ChaCha20Poly1305> made(new ChaCha20Poly1305());
  for (size_t i = 0; i < kKeySize / 4; i++) made->key_[i] = LoadLittleEndian32(key + 4 * i);
  made->poly1305_ = std::make_unique<uint8_t[]>(ThePrimitives().poly1305_size());
  return made;
}

ChaCha20Poly1305::~ChaCha20Poly1305() { explicit_bzero(key_, sizeof(key_)); }

// Puts block 0 into `first_`, and behind it the text's first bytes, en- or decrypted. Returns how many those
// are.
size_t ChaCha20Poly1305::BeginText(const uint8_t* nonce, const uint8_t* text, size_t length) {
  const size_t first = std::min(length, kFirstText);
  counter_[0] = 0;
  for (size_t i = 0; i < kNonceSize / 4; i++) counter_[i + 1] = LoadLittleEndian32(nonce + 4 * i);
  memset(first_, 0, kBlockSize);
  memcpy(first_ + kBlockSize, text, first);
  ThePrimitives().chacha20(first_, first_, kBlockSize + first, key_, counter_);
  return first;
}

void ChaCha20Poly1305::EndText(size_t first, uint8_t* text, size_t length) {
  memcpy(text, first_ + kBlockSize, first);
  if (first == length) return;
  counter_[0] = kFirstBlocks;
  ThePrimitives().chacha20(text + first, text + first, length - first, key_, counter_);
}

void ChaCha20Poly1305::MakeTag(const uint8_t* associated, size_t associated_length, const uint8_t* text,
                               size_t length, uint8_t* tag) {
  const Primitives& use = ThePrimitives();
  const uint8_t zeros[15] = {};
  void* const state = poly1305_.get();
  use.poly1305_init(state, first_);
  use.poly1305_update(state, associated, associated_length);
  use.poly1305_update(state, zeros, -associated_length % 16);
  const size_t rest = length % 16;
  use.poly1305_update(state, text, length - rest);
  uint8_t last[32] = {};
  memcpy(last, text + length - rest, rest);
  uint8_t* const lengths = last + (rest > 0 ? 16 : 0);
  StoreLittleEndian64(associated_length, lengths);
  StoreLittleEndian64(length, lengths + 8);
  use.poly1305_update(state, last, static_cast<size_t>(lengths + 16 - last));
  use.poly1305_final(state, tag);
}

void ChaCha20Poly1305::Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                            uint8_t* text, size_t length, uint8_t* tag) {
  const size_t first = BeginText(nonce, text, length);
  EndText(first, text, length);
  MakeTag(associated, associated_length, text, length, tag);
  explicit_bzero(first_, kBlockSize + first);
}

bool ChaCha20Poly1305::Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                            uint8_t* text, size_t length, const uint8_t* tag) {
  const size_t first = BeginText(nonce, text, length);
  uint8_t expected[kTagSize];
  MakeTag(associated, associated_length, text, length, expected);
  uint8_t difference = 0;  // takes as long wherever they differ
  for (size_t i = 0; i < kTagSize; i++) difference |= static_cast<uint8_t>(expected[i] ^ tag[i]);
  if (difference == 0) EndText(first, text, length);
  explicit_bzero(first_, kBlockSize + first);
  explicit_bzero(expected, sizeof(expected));
  return difference == 0;
}

}  // namespace tuntap
