#include "aead.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include "little_endian.h"
#include "process_symbol.h"

namespace tuntap {
namespace {

// openssl/evp.h, the same since OpenSSL 1.1.0.
constexpr int kCtrlGetTag = 0x10;
constexpr int kCtrlSetTag = 0x11;

struct Evp {
  void* (*context_new)();
  void (*context_free)(void*);
  int (*init)(void*, const void*, void*, const uint8_t*, const uint8_t*, int);
  int (*update)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*final)(void*, uint8_t*, int*);
  int (*control)(void*, int, int, void*);
  void (*clear_errors)();
  const void* (*chacha20_poly1305)();
  const void* (*aes_128_gcm)();
  const void* (*aes_256_gcm)();

  bool complete = FindSymbol("EVP_CIPHER_CTX_new", &context_new) &&
                  FindSymbol("EVP_CIPHER_CTX_free", &context_free) &&
                  FindSymbol("EVP_CipherInit_ex", &init) && FindSymbol("EVP_CipherUpdate", &update) &&
                  FindSymbol("EVP_CipherFinal_ex", &final) && FindSymbol("EVP_CIPHER_CTX_ctrl", &control) &&
                  FindSymbol("ERR_clear_error", &clear_errors) &&
                  FindSymbol("EVP_chacha20_poly1305", &chacha20_poly1305) &&
                  FindSymbol("EVP_aes_128_gcm", &aes_128_gcm) && FindSymbol("EVP_aes_256_gcm", &aes_256_gcm);

  const void* Cipher(AeadCipher cipher) const {
    switch (cipher) {
      case AeadCipher::kChaCha20Poly1305:
        return chacha20_poly1305();
      case AeadCipher::kAes128Gcm:
        return aes_128_gcm();
      default:
        return aes_256_gcm();
    }
  }
};

const Evp& TheEvp() {
  static const Evp evp{};
  return evp;
}

size_t KeyLength(AeadCipher cipher) { return cipher == AeadCipher::kAes128Gcm ? 16 : 32; }

// The compiler may not leave this out though nothing reads what it writes.
void Wipe(uint8_t* bytes, size_t length) { explicit_bzero(bytes, length); }

// Whether an entry's packet lies within the batch's memory, where JavaScript can have written anything.
bool Within(const Batch& batch, const TableEntry& entry) {
  return entry.offset <= batch.size() && entry.length <= batch.size() - entry.offset &&
         entry.length <= INT_MAX;
}

}  // namespace

int Aead::Create(AeadCipher cipher, const uint8_t* key, size_t key_length, const AeadLayout& layout,
                 std::unique_ptr<Aead>* out) {
  const Evp& evp = TheEvp();
  if (!evp.complete) return -ENOSYS;
  const bool fits = layout.header_length <= kMaxHeader && layout.header_length >= 8 &&
                    layout.counter_offset <= layout.header_length - 8 &&
                    layout.associated_offset <= layout.header_length &&
                    layout.associated_length <= layout.header_length - layout.associated_offset;
  if (key_length != KeyLength(cipher) || !fits) return -EINVAL;
  std::unique_ptr<Aead> aead(new Aead(layout));
  const uint8_t nonce[kNonceSize] = {};
  aead->seal_ = evp.context_new();
  aead->open_ = evp.context_new();
  // A nonce of 12 bytes is each of these ciphers' default.
  const bool made = aead->seal_ != nullptr && aead->open_ != nullptr &&
                    evp.init(aead->seal_, evp.Cipher(cipher), nullptr, key, nonce, 1) == 1 &&
                    evp.init(aead->open_, evp.Cipher(cipher), nullptr, key, nonce, 0) == 1;
  if (!made) {
    evp.clear_errors();
    return -ENOTSUP;
  }
  if (cipher == AeadCipher::kChaCha20Poly1305) aead->TakePrimitives(key);
  *out = std::move(aead);
  return 0;
}

Aead::~Aead() {
  if (seal_ != nullptr) TheEvp().context_free(seal_);
  if (open_ != nullptr) TheEvp().context_free(open_);
}

// Uses them only where they give what EVP gives, since nobody promises that they stay as they are.
void Aead::TakePrimitives(const uint8_t* key) {
  constexpr size_t kLength = 1000;
  primitives_ = ChaCha20Poly1305::Create(key);
  if (primitives_ == nullptr) return;
  const uint8_t nonce[kNonceSize] = {};
  const std::vector<uint8_t> associated(layout_.associated_length);
  uint8_t ours[kLength + kTagSize] = {};
  uint8_t theirs[kLength + kTagSize] = {};
  primitives_->Seal(nonce, associated.data(), associated.size(), ours, kLength, ours + kLength);
  const bool agree =
      SealByEvp(nonce, associated.data(), theirs, kLength) && memcmp(ours, theirs, sizeof(ours)) == 0 &&
      primitives_->Open(nonce, associated.data(), associated.size(), ours, kLength, ours + kLength);
  if (!agree) {
    primitives_.reset();
    TheEvp().clear_errors();
  }
  // The key stream of the first nonce.
  Wipe(ours, sizeof(ours));
  Wipe(theirs, sizeof(theirs));
}

void Aead::MakeNonce(const uint8_t* counter, uint8_t* nonce) const {
  memcpy(nonce, layout_.nonce_prefix, sizeof(layout_.nonce_prefix));
  memcpy(nonce + sizeof(layout_.nonce_prefix), counter, 8);
}

// `packet` begins with the header, and has room for the tag behind its `length` bytes of plaintext.
bool Aead::SealPacket(uint8_t* packet, size_t length, uint64_t counter) {
  StoreLittleEndian64(counter, packet + layout_.counter_offset);
  uint8_t nonce[kNonceSize];
  MakeNonce(packet + layout_.counter_offset, nonce);
  const uint8_t* const associated = packet + layout_.associated_offset;
  uint8_t* const text = packet + layout_.header_length;
  if (primitives_ == nullptr) return SealByEvp(nonce, associated, text, length);
  primitives_->Seal(nonce, associated, layout_.associated_length, text, length, text + length);
  return true;
}

// `packet` is header, `length` bytes of ciphertext, and tag.
bool Aead::OpenPacket(uint8_t* packet, size_t length) {
  uint8_t nonce[kNonceSize];
  MakeNonce(packet + layout_.counter_offset, nonce);
  const uint8_t* const associated = packet + layout_.associated_offset;
  uint8_t* const text = packet + layout_.header_length;
  if (primitives_ == nullptr) return OpenByEvp(nonce, associated, text, length);
  return primitives_->Open(nonce, associated, layout_.associated_length, text, length, text + length);
}

bool Aead::SealByEvp(const uint8_t* nonce, const uint8_t* associated, uint8_t* text, size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  if (evp.init(seal_, nullptr, nullptr, nullptr, nonce, 1) != 1) return false;
  if (layout_.associated_length > 0 &&
      evp.update(seal_, nullptr, &ignored, associated, static_cast<int>(layout_.associated_length)) != 1) {
    return false;
  }
  return evp.update(seal_, text, &ignored, text, static_cast<int>(length)) == 1 &&
         evp.final(seal_, text + length, &ignored) == 1 &&
         evp.control(seal_, kCtrlGetTag, kTagSize, text + length) == 1;
}

bool Aead::OpenByEvp(const uint8_t* nonce, const uint8_t* associated, uint8_t* text, size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  if (evp.init(open_, nullptr, nullptr, nullptr, nonce, 0) != 1) return false;
  if (layout_.associated_length > 0 &&
      evp.update(open_, nullptr, &ignored, associated, static_cast<int>(layout_.associated_length)) != 1) {
    return false;
  }
  if (length > 0 && evp.update(open_, text, &ignored, text, static_cast<int>(length)) != 1) return false;
  uint8_t none[kTagSize];
  return evp.control(open_, kCtrlSetTag, kTagSize, text + length) == 1 &&
         evp.final(open_, none, &ignored) == 1;
}

void Aead::Seal(const Batch& batch, size_t start, size_t end, const uint8_t* header, uint64_t counter) {
  const size_t slab = sizeof(TableHeader) + batch.capacity() * sizeof(TableEntry);
  uint32_t sealed = 0;
  uint32_t bytes = 0;
  for (size_t i = start; i < end; i++) {
    TableEntry& entry = batch.entries()[i];
    if (entry.length == 0) continue;
    const TableEntry copy = entry;
    const size_t slot = std::max<size_t>(copy.slot, slab);
    const size_t slot_end = i + 1 < std::min<size_t>(batch.header()->count, batch.capacity())
                                ? std::min<size_t>(batch.entries()[i + 1].slot, batch.size())
                                : batch.size();
    const bool roomy = Within(batch, copy) && copy.offset >= slot + layout_.header_length &&
                       size_t{copy.offset} + copy.length + kTagSize <= slot_end;
    entry.length = 0;
    entry.status = -ENOBUFS;
    if (!roomy) continue;
    uint8_t* packet = batch.memory() + copy.offset - layout_.header_length;
    memcpy(packet, header, layout_.header_length);
    if (!SealPacket(packet, copy.length, counter++)) {
      TheEvp().clear_errors();
      entry.status = -EIO;
      continue;
    }
    entry.offset = copy.offset - layout_.header_length;
    entry.length = static_cast<uint32_t>(layout_.header_length + copy.length + kTagSize);
    entry.status = 0;
    sealed++;
    bytes += entry.length;
  }
  batch.header()->packets = sealed;
  batch.header()->bytes = bytes;
  batch.header()->error = 0;
}

void Aead::Open(const Batch& batch, size_t start, size_t end) {
  const size_t around = layout_.header_length + kTagSize;
  uint32_t opened = 0;
  uint32_t bytes = 0;
  bool failed = false;
  for (size_t i = start; i < end; i++) {
    TableEntry& entry = batch.entries()[i];
    if (entry.length == 0) continue;
    const TableEntry copy = entry;
    entry.length = 0;
    entry.status = -EBADMSG;
    if (!Within(batch, copy)) continue;
    uint8_t* packet = batch.memory() + copy.offset;
    if (copy.length < around || !OpenPacket(packet, copy.length - around)) {
      Wipe(packet, copy.length);
      failed = true;
      continue;
    }
    entry.offset = copy.offset + layout_.header_length;
    entry.length = static_cast<uint32_t>(copy.length - around);
    entry.status = 0;
    opened++;
    bytes += entry.length;
  }
  // Node's own crypto must not find errors of ours in OpenSSL's queue of this thread.
  if (failed) TheEvp().clear_errors();
  batch.header()->packets = opened;
  batch.header()->bytes = bytes;
  batch.header()->error = 0;
}

}  // namespace tuntap
