#include "aead.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "allowed_sources.h"
#include "bundled_ciphers.h"
#include "evp_cipher.h"
#include "little_endian.h"
#include "openssl_chacha20_poly1305.h"

namespace tuntap {
namespace {

int CreateOpensslCipher(AeadCipher cipher, const uint8_t* key, std::unique_ptr<PacketCipher>* out) {
  if (cipher == AeadCipher::kChaCha20Poly1305) *out = OpensslChaCha20Poly1305::Create(key);
  return *out != nullptr ? 0 : EvpCipher::Create(cipher, key, out);
}

int CreateCipher(AeadCipher cipher, const uint8_t* key, CipherSource* source,
                 std::unique_ptr<PacketCipher>* out) {
  const AllowedSources allowed;
  const int result = allowed.openssl ? CreateOpensslCipher(cipher, key, out) : -ENOSYS;
  *source = result == 0 ? CipherSource::kOpenssl : CipherSource::kBundled;
  if (result == 0 || !allowed.bundled) return result;
  const int other = CreateBundledCipher(cipher, key, allowed.level, out);
  return other == -ENOSYS ? result : other;
}

void MakeNonce(const AeadLayout& layout, const uint8_t* packet, uint8_t* nonce) {
  memcpy(nonce, layout.nonce_prefix, sizeof(layout.nonce_prefix));
  memcpy(nonce + sizeof(layout.nonce_prefix), packet + layout.counter_offset, 8);
}

}  // namespace

int Aead::Create(AeadCipher cipher, const uint8_t* key, size_t key_length, const AeadLayout& layout,
                 size_t contexts, std::unique_ptr<Aead>* out) {
  const bool fits = layout.header_length <= kMaxHeader && layout.header_length >= 8 &&
                    layout.counter_offset <= layout.header_length - 8 &&
                    layout.associated_offset <= layout.header_length &&
                    layout.associated_length <= layout.header_length - layout.associated_offset;
  if (key_length != KeyLength(cipher) || !fits) return -EINVAL;
  std::unique_ptr<Aead> aead(new Aead(layout));
  aead->contexts_.resize(contexts);
  for (std::unique_ptr<PacketCipher>& context : aead->contexts_) {
    const int result = CreateCipher(cipher, key, &aead->source_, &context);
    if (result < 0) return result;
  }
  *out = std::move(aead);
  return 0;
}

bool Aead::SealPacket(uint8_t* packet, size_t length, uint64_t counter, size_t context) {
  StoreLittleEndian64(counter, packet + layout_.counter_offset);
  uint8_t nonce[kNonceSize];
  MakeNonce(layout_, packet, nonce);
  return contexts_[context]->Seal(nonce, packet + layout_.associated_offset, layout_.associated_length,
                                  packet + layout_.header_length, length);
}

bool Aead::OpenPacket(uint8_t* packet, size_t length) {
  uint8_t nonce[kNonceSize];
  MakeNonce(layout_, packet, nonce);
  return contexts_[0]->Open(nonce, packet + layout_.associated_offset, layout_.associated_length,
                            packet + layout_.header_length, length);
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
    if (!SealPacket(packet, padded, counter++, context)) {
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
  if (copy.length < around || !OpenPacket(packet, copy.length - around)) {
    memset(packet, 0, copy.length);
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
