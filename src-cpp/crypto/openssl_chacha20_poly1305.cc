#include "openssl_chacha20_poly1305.h"

#include <algorithm>
#include <cstring>

#include "chacha20_avx512.h"
#include "cpu/cpu_features.h"
#include "evp_cipher.h"
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

std::unique_ptr<PacketCipher> OpensslChaCha20Poly1305::Create(const uint8_t* key) {
  static const bool work = ThePrimitives().complete && AgreesWithEvp();
  if (!work) return nullptr;
  return std::unique_ptr<PacketCipher>(new OpensslChaCha20Poly1305(key));
}

OpensslChaCha20Poly1305::OpensslChaCha20Poly1305(const uint8_t* key)
    : poly1305_(new uint8_t[ThePrimitives().poly1305_size()]) {
  for (size_t i = 0; i < kKeySize / 4; i++) key_[i] = LoadLittleEndian32(key + 4 * i);
}

OpensslChaCha20Poly1305::~OpensslChaCha20Poly1305() { explicit_bzero(key_, sizeof(key_)); }

// Nobody promises that the primitives stay as they are. Every byte of key, nonce and associated data differs
// from its neighbours, and the texts end before, at and behind the blocks that are computed first.
bool OpensslChaCha20Poly1305::AgreesWithEvp() {
  constexpr size_t kAssociated = 21;
  constexpr size_t kLongest = 1500;
  uint8_t key[kKeySize];
  uint8_t associated[kAssociated];
  uint8_t plain[kLongest + kTagSize];
  for (size_t i = 0; i < sizeof(key); i++) key[i] = static_cast<uint8_t>(37 * i + 11);
  for (size_t i = 0; i < sizeof(associated); i++) associated[i] = static_cast<uint8_t>(31 * i + 7);
  for (size_t i = 0; i < sizeof(plain); i++) plain[i] = static_cast<uint8_t>(29 * i + 5);
  std::unique_ptr<PacketCipher> evp;
  OpensslChaCha20Poly1305 primitives(key);
  bool agree = EvpCipher::Create(AeadCipher::kChaCha20Poly1305, key, &evp) == 0;
  uint8_t nonce[kNonceSize] = {0xa1, 0xb2, 0xc3, 0xd4};
  uint64_t counter = 0x0123456789abcdef;
  for (const size_t length : {0u, 1u, 63u, 447u, 448u, 449u, 1024u, 1500u}) {
    uint8_t ours[sizeof(plain)];
    uint8_t theirs[sizeof(plain)];
    memcpy(ours, plain, sizeof(plain));
    memcpy(theirs, plain, sizeof(plain));
    counter *= 3;
    StoreLittleEndian64(counter, nonce + 4);
    agree = agree && evp->Seal(nonce, associated, kAssociated, theirs, length) &&
            primitives.Seal(nonce, associated, kAssociated, ours, length) &&
            memcmp(ours, theirs, sizeof(plain)) == 0 &&
            primitives.Open(nonce, associated, kAssociated, ours, length) && memcmp(ours, plain, length) == 0;
    associated[0] ^= 1;
    agree = agree && !primitives.Open(nonce, associated, kAssociated, theirs, length);
  }
  return agree;
}

// Puts block 0 into `first_`, and the text's first bytes, en- or decrypted, into `out`: the text itself, or
// behind block 0. Returns how many those are.
size_t OpensslChaCha20Poly1305::BeginText(const uint8_t* nonce, const uint8_t* text, size_t length,
                                          uint8_t* out) {
  const bool has_avx512 = Cpu().avx512;
  const size_t first = std::min(length, kFirstText);
  counter_[0] = 0;
  for (size_t i = 0; i < kNonceSize / 4; i++) counter_[i + 1] = LoadLittleEndian32(nonce + 4 * i);
  if (has_avx512 && first == kFirstText) {
    ChaCha20FirstBlocks(key_, counter_ + 1, first_, text, out);
    return first;
  }
  uint8_t* const behind = first_ + kBlockSize;
  memset(first_, 0, kBlockSize);
  memcpy(behind, text, first);
  ThePrimitives().chacha20(first_, first_, kBlockSize + first, key_, counter_);
  if (out != behind) memcpy(out, behind, first);
  return first;
}

void OpensslChaCha20Poly1305::EndText(size_t first, uint8_t* text, size_t length) {
  if (first == length) return;
  counter_[0] = kFirstBlocks;
  ThePrimitives().chacha20(text + first, text + first, length - first, key_, counter_);
}

void OpensslChaCha20Poly1305::MakeTag(const uint8_t* associated, size_t associated_length,
                                      const uint8_t* text, size_t length, uint8_t* tag) {
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

bool OpensslChaCha20Poly1305::Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                                   uint8_t* text, size_t length) {
  const size_t first = BeginText(nonce, text, length, text);
  EndText(first, text, length);
  MakeTag(associated, associated_length, text, length, text + length);
  explicit_bzero(first_, kBlockSize + first);
  return true;
}

bool OpensslChaCha20Poly1305::Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                                   uint8_t* text, size_t length) {
  uint8_t* const behind = first_ + kBlockSize;
  const size_t first = BeginText(nonce, text, length, behind);
  const uint8_t* const tag = text + length;
  uint8_t expected[kTagSize];
  MakeTag(associated, associated_length, text, length, expected);
  uint8_t difference = 0;  // takes as long wherever they differ
  for (size_t i = 0; i < kTagSize; i++) difference |= static_cast<uint8_t>(expected[i] ^ tag[i]);
  if (difference == 0) {
    memcpy(text, behind, first);
    EndText(first, text, length);
  }
  explicit_bzero(first_, kBlockSize + first);
  explicit_bzero(expected, sizeof(expected));
  return difference == 0;
}

}  // namespace tuntap
