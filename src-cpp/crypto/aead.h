#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch/batch_view.h"
#include "packet_cipher.h"

namespace tuntap {

// Where a cipher comes from.
enum class CipherSource { kOpenssl, kBundled };

// How a sealed packet looks: a header of `header_length` bytes with the counter in it, the ciphertext, the
// tag.
struct AeadLayout {
  uint32_t header_length;
  uint32_t counter_offset;  // in the header: 64 bits, little-endian
  uint32_t associated_offset;
  uint32_t associated_length;  // within the header
  uint8_t nonce_prefix[4];     // before the counter
};

// Zeros that are sealed behind a packet, so that its length tells less: up to a multiple, but not beyond a
// limit, such as the MTU. Limit 0: none.
struct Padding {
  uint32_t multiple = 1;
  uint32_t limit = 0;

  size_t After(size_t length) const;
};

// Seals and opens the packets of a batch in place: by the OpenSSL that the process has, else by the bundled
// ciphers.
class Aead {
 public:
  static constexpr size_t kTagSize = PacketCipher::kTagSize;
  static constexpr size_t kNonceSize = PacketCipher::kNonceSize;
  static constexpr size_t kMaxHeader = 4096;

  // Returns 0 and sets `*out`, or -errno: -ENOSYS if neither the process has OpenSSL nor this build ciphers
  // of its own, -ENOTSUP if OpenSSL lacks the cipher and this build has none, -ENODEV if this build's ciphers
  // need instructions for AES that the processor lacks, -EINVAL for a key of another length than the
  // cipher's, or a layout that does not add up. Calls from several threads at a time each need a context of
  // their own, of `contexts`.
  [[nodiscard]] static int Create(AeadCipher cipher, const uint8_t* key, size_t key_length,
                                  const AeadLayout& layout, size_t contexts, std::unique_ptr<Aead>* out);

  CipherSource source() const { return source_; }
  const AeadLayout& layout() const { return layout_; }
  size_t contexts() const { return contexts_.size(); }

  // Seals entries `start` to `end`, the first under `counter` and each further one under the next; `header`
  // has the layout's length, and its counter is replaced. An entry without room for header and tag is
  // dropped, status -ENOBUFS, so that its plaintext is never written; it takes no counter. The outcome
  // counts the sealed. Dropped entries are passed over.
  [[nodiscard]] Outcome Seal(const BatchView& batch, size_t start, size_t end, const uint8_t* header,
                             uint64_t counter, const Padding& padding, size_t context = 0);

  // Opens entries `start` to `end`. One that is not authentic is wiped and dropped, status -EBADMSG.
  [[nodiscard]] Outcome Open(const BatchView& batch, size_t start, size_t end);
  // The same for one entry that was not dropped; returns whether it is authentic.
  [[nodiscard]] bool OpenEntry(const BatchView& batch, size_t index);

  // The same for one packet outside a batch: its header, `length` bytes of text, and the tag, or room for it.
  [[nodiscard]] bool SealPacket(uint8_t* packet, size_t length, uint64_t counter, size_t context = 0);
  [[nodiscard]] bool OpenPacket(uint8_t* packet, size_t length);

  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

 private:
  explicit Aead(const AeadLayout& layout) : layout_(layout) {}

  AeadLayout layout_;
  CipherSource source_ = CipherSource::kOpenssl;
  std::vector<std::unique_ptr<PacketCipher>> contexts_;
};

}  // namespace tuntap
