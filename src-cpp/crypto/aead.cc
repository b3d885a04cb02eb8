#include "aead.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "little_endian.h"
#include "process_symbol.h"

namespace tuntap {
namespace {

// openssl/evp.h, the same since OpenSSL 1.1.0.
constexpr int kCtrlGetTag = 0x10;
constexpr int kCtrlSetTag = 0x11;

struct Evp {
  void* (*context_new)() = ProcessSymbol("EVP_CIPHER_CTX_new");
  void (*context_free)(void*) = ProcessSymbol("EVP_CIPHER_CTX_free");
  int (*init)(void*, const void*, void*, const uint8_t*, const uint8_t*,
              int) = ProcessSymbol("EVP_CipherInit_ex");
  int (*update)(void*, uint8_t*, int*, const uint8_t*, int) = ProcessSymbol("EVP_CipherUpdate");
  int (*final)(void*, uint8_t*, int*) = ProcessSymbol("EVP_CipherFinal_ex");
  int (*control)(void*, int, int, void*) = ProcessSymbol("EVP_CIPHER_CTX_ctrl");
  void (*clear_errors)() = ProcessSymbol("ERR_clear_error");

  bool complete = context_new && context_free && init && update && final && control && clear_errors;
};

const Evp& TheEvp() {
  static const Evp evp{};
  return evp;
}

// An EVP_CIPHER, or nullptr: a build may leave any of them out, as BoringSSL does with the first.
const void* FindCipher(AeadCipher cipher) {
  const char* const name = cipher == AeadCipher::kChaCha20Poly1305 ? "EVP_chacha20_poly1305"
                           : cipher == AeadCipher::kAes128Gcm      ? "EVP_aes_128_gcm"
                                                                   : "EVP_aes_256_gcm";
  const void* (*get)() = ProcessSymbol(name);
  return get == nullptr ? nullptr : get();
}

size_t KeyLength(AeadCipher cipher) { return cipher == AeadCipher::kAes128Gcm ? 16 : 32; }

void MakeNonce(const AeadLayout& layout, const uint8_t* counter, uint8_t* nonce) {
  memcpy(nonce, layout.nonce_prefix, sizeof(layout.nonce_prefix));
  memcpy(nonce + sizeof(layout.nonce_prefix), counter, 8);
}

}  // namespace

int Aead::Create(AeadCipher cipher, const uint8_t* key, size_t key_length, const AeadLayout& layout,
                 size_t contexts, std::unique_ptr<Aead>* out) {
  const Evp& evp = TheEvp();
  if (!evp.complete) return -ENOSYS;
  const bool fits = layout.header_length <= kMaxHeader && layout.header_length >= 8 &&
                    layout.counter_offset <= layout.header_length - 8 &&
                    layout.associated_offset <= layout.header_length &&
                    layout.associated_length <= layout.header_length - layout.associated_offset;
  if (key_length != KeyLength(cipher) || !fits) return -EINVAL;
  std::unique_ptr<Aead> aead(new Aead(layout));
  aead->contexts_.resize(contexts);
  for (Context& context : aead->contexts_) {
    if (cipher == AeadCipher::kChaCha20Poly1305) {
      static const bool agree = PrimitivesAgree();
      if (agree) context.TakePrimitives(key);
    }
    if (context.has_primitives() || context.TakeKey(cipher, key)) continue;
    evp.clear_errors();
    return -ENOTSUP;
  }
  *out = std::move(aead);
  return 0;
}

Aead::Context::Context(Context&& other) noexcept
    : primitives_(std::move(other.primitives_)),
      seal_(std::exchange(other.seal_, nullptr)),
      open_(std::exchange(other.open_, nullptr)) {}

bool Aead::Context::TakeKey(AeadCipher cipher, const uint8_t* key) {
  const Evp& evp = TheEvp();
  const void* const found = FindCipher(cipher);
  const uint8_t nonce[kNonceSize] = {};
  seal_ = evp.context_new();
  open_ = evp.context_new();
  // A nonce of 12 bytes is each of these ciphers' default.
  return found != nullptr && seal_ != nullptr && open_ != nullptr &&
         evp.init(seal_, found, nullptr, key, nonce, 1) == 1 &&
         evp.init(open_, found, nullptr, key, nonce, 0) == 1;
}

Aead::Context::~Context() {
  if (seal_ != nullptr) TheEvp().context_free(seal_);
  if (open_ != nullptr) TheEvp().context_free(open_);
}

// Whether OpenSSL's primitives give what its EVP gives: nobody promises that they stay as they are. Every
// byte of key, nonce and associated data differs from its neighbours, and the texts end before, at and behind
// the blocks that are computed first.
bool Aead::PrimitivesAgree() {
  constexpr size_t kHeader = 21;
  constexpr size_t kLongest = 1500;
  const AeadLayout layout = {kHeader, 7, 0, kHeader, {0xa1, 0xb2, 0xc3, 0xd4}};
  uint8_t key[ChaCha20Poly1305::kKeySize];
  uint8_t plain[kHeader + kLongest + kTagSize];
  for (size_t i = 0; i < sizeof(key); i++) key[i] = static_cast<uint8_t>(37 * i + 11);
  for (size_t i = 0; i < sizeof(plain); i++) plain[i] = static_cast<uint8_t>(29 * i + 5);
  Context by_evp;
  Context by_primitives;
  by_primitives.TakePrimitives(key);
  bool agree = by_primitives.has_primitives() && by_evp.TakeKey(AeadCipher::kChaCha20Poly1305, key);
  uint64_t counter = 0x0123456789abcdef;
  for (const size_t length : {0u, 1u, 63u, 447u, 448u, 449u, 1024u, 1500u}) {
    uint8_t ours[sizeof(plain)];
    uint8_t theirs[sizeof(plain)];
    memcpy(ours, plain, sizeof(plain));
    memcpy(theirs, plain, sizeof(plain));
    counter *= 3;
    agree = agree && by_evp.Seal(layout, theirs, length, counter) &&
            by_primitives.Seal(layout, ours, length, counter) && memcmp(ours, theirs, sizeof(plain)) == 0 &&
            by_primitives.Open(layout, ours, length) && memcmp(ours + kHeader, plain + kHeader, length) == 0;
    theirs[0] ^= 1;
    agree = agree && !by_primitives.Open(layout, theirs, length);
  }
  if (!agree) TheEvp().clear_errors();
  return agree;
}

bool Aead::Context::Seal(const AeadLayout& layout, uint8_t* packet, size_t length, uint64_t counter) {
  StoreLittleEndian64(counter, packet + layout.counter_offset);
  uint8_t nonce[kNonceSize];
  MakeNonce(layout, packet + layout.counter_offset, nonce);
  const uint8_t* const associated = packet + layout.associated_offset;
  uint8_t* const text = packet + layout.header_length;
  if (primitives_ == nullptr) return SealByEvp(layout, nonce, associated, text, length);
  primitives_->Seal(nonce, associated, layout.associated_length, text, length, text + length);
  return true;
}

bool Aead::Context::Open(const AeadLayout& layout, uint8_t* packet, size_t length) {
  uint8_t nonce[kNonceSize];
  MakeNonce(layout, packet + layout.counter_offset, nonce);
  const uint8_t* const associated = packet + layout.associated_offset;
  uint8_t* const text = packet + layout.header_length;
  if (primitives_ == nullptr) return OpenByEvp(layout, nonce, associated, text, length);
  return primitives_->Open(nonce, associated, layout.associated_length, text, length, text + length);
}

bool Aead::Context::SealByEvp(const AeadLayout& layout, const uint8_t* nonce, const uint8_t* associated,
                              uint8_t* text, size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  if (evp.init(seal_, nullptr, nullptr, nullptr, nonce, 1) != 1) return false;
  if (layout.associated_length > 0 &&
      evp.update(seal_, nullptr, &ignored, associated, static_cast<int>(layout.associated_length)) != 1) {
    return false;
  }
  if (length > 0 && evp.update(seal_, text, &ignored, text, static_cast<int>(length)) != 1) return false;
  return evp.final(seal_, text + length, &ignored) == 1 &&
         evp.control(seal_, kCtrlGetTag, kTagSize, text + length) == 1;
}

bool Aead::Context::OpenByEvp(const AeadLayout& layout, const uint8_t* nonce, const uint8_t* associated,
                              uint8_t* text, size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  if (evp.init(open_, nullptr, nullptr, nullptr, nonce, 0) != 1) return false;
  if (layout.associated_length > 0 &&
      evp.update(open_, nullptr, &ignored, associated, static_cast<int>(layout.associated_length)) != 1) {
    return false;
  }
  if (length > 0 && evp.update(open_, text, &ignored, text, static_cast<int>(length)) != 1) return false;
  uint8_t none[kTagSize];
  return evp.control(open_, kCtrlSetTag, kTagSize, text + length) == 1 &&
         evp.final(open_, none, &ignored) == 1;
}

size_t Padding::After(size_t length) const {
  if (multiple <= 1) return 0;
  // A packet beyond the limit is padded as its last piece of that size would be.
  const size_t last = limit == 0 || length <= limit ? length : length % limit;
  const size_t whole = (last + multiple - 1) / multiple * multiple;
  return (limit == 0 ? whole : std::min<size_t>(whole, limit)) - last;
}

Outcome Aead::Seal(const BatchView& batch, size_t start, size_t end, const uint8_t* header, uint64_t counter,
                   const Padding& padding, size_t context) {
  Context& with = contexts_[context];
  Outcome outcome;
  for (size_t i = start; i < end; i++) {
    BatchEntry& entry = batch.entries()[i];
    if (entry.length == kDropped) continue;
    const BatchEntry copy = entry;
    const size_t slot = std::max<size_t>(copy.slot, batch.data_area());
    const size_t next = i + 1 < batch.count() ? batch.entries()[i + 1].slot : batch.size();
    const size_t padded = size_t{copy.length} + padding.After(copy.length);
    const bool roomy = batch.Contains(copy.offset, copy.length) &&
                       copy.offset >= slot + layout_.header_length &&
                       copy.offset + padded + kTagSize <= std::min(next, batch.size());
    entry.length = kDropped;
    entry.status = -ENOBUFS;
    if (!roomy) continue;
    uint8_t* packet = batch.memory() + copy.offset - layout_.header_length;
    memcpy(packet, header, layout_.header_length);
    memset(packet + layout_.header_length + copy.length, 0, padded - copy.length);
    if (!with.Seal(layout_, packet, padded, counter++)) {
      TheEvp().clear_errors();
      entry.status = -EIO;
      continue;
    }
    entry.offset = copy.offset - layout_.header_length;
    entry.length = static_cast<uint32_t>(layout_.header_length + padded + kTagSize);
    entry.status = 0;
    outcome.Count(entry.length);
  }
  return outcome;
}

bool Aead::OpenEntry(const BatchView& batch, size_t index) {
  BatchEntry& entry = batch.entries()[index];
  const BatchEntry copy = entry;
  const size_t around = layout_.header_length + kTagSize;
  entry.length = kDropped;
  entry.status = -EBADMSG;
  if (!batch.Contains(copy.offset, copy.length)) return false;
  uint8_t* const packet = batch.memory() + copy.offset;
  if (copy.length < around || !contexts_[0].Open(layout_, packet, copy.length - around)) {
    memset(packet, 0, copy.length);
    // Node's own crypto must not find errors of ours in OpenSSL's queue of this thread.
    TheEvp().clear_errors();
    return false;
  }
  entry.offset = copy.offset + layout_.header_length;
  entry.length = static_cast<uint32_t>(copy.length - around);
  entry.status = 0;
  return true;
}

Outcome Aead::Open(const BatchView& batch, size_t start, size_t end) {
  Outcome outcome;
  for (size_t i = start; i < end; i++) {
    const BatchEntry& entry = batch.entries()[i];
    if (entry.length != kDropped && OpenEntry(batch, i)) outcome.Count(entry.length);
  }
  return outcome;
}

}  // namespace tuntap
