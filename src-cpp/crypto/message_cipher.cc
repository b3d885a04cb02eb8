#include "message_cipher.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "aead.h"
#include "little_endian.h"

namespace tuntap {
namespace {

constexpr size_t kKeySize = 32;
constexpr size_t kExtendedNonceSize = 24;
constexpr size_t kCounterSize = 8;  // of an Aead: a nonce's last bytes

inline uint32_t RotateLeft(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

// RFC 8439 section 2.1.
inline void QuarterRound(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
  a += b;
  d = RotateLeft(d ^ a, 16);
  c += d;
  b = RotateLeft(b ^ c, 12);
  a += b;
  d = RotateLeft(d ^ a, 8);
  c += d;
  b = RotateLeft(b ^ c, 7);
}

// HChaCha20: a key for one nonce, of which it takes 16 bytes.
void MakeSubkey(const uint8_t* key, const uint8_t* nonce, uint8_t* subkey) {
  uint32_t v[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (size_t i = 0; i < 8; i++) v[4 + i] = LoadLittleEndian32(key + 4 * i);
  for (size_t i = 0; i < 4; i++) v[12 + i] = LoadLittleEndian32(nonce + 4 * i);
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < 4; i++) QuarterRound(v[i], v[i + 4], v[i + 8], v[i + 12]);
    for (int i = 0; i < 4; i++) {
      QuarterRound(v[i], v[(i + 1) % 4 + 4], v[(i + 2) % 4 + 8], v[(i + 3) % 4 + 12]);
    }
  }
  for (size_t i = 0; i < 4; i++) {
    StoreLittleEndian32(v[i], subkey + 4 * i);
    StoreLittleEndian32(v[12 + i], subkey + 16 + 4 * i);
  }
  explicit_bzero(v, sizeof(v));
}

// An Aead for one message, and the packet that it works on: the nonce's counter, the associated data, the
// text.
struct MessagePacket {
  std::unique_ptr<Aead> aead;
  std::vector<uint8_t> packet;
  size_t text;  // where it begins
  uint64_t counter;

  [[nodiscard]] int Begin(const uint8_t* key, ConstBytes nonce, ConstBytes associated, size_t text_size) {
    uint8_t subkey[kKeySize];
    const bool extended = nonce.size == kExtendedNonceSize;
    if (extended) {
      MakeSubkey(key, nonce.data, subkey);
      key = subkey;
    }
    text = kCounterSize + associated.size;
    AeadLayout layout = {};
    layout.header_length = static_cast<uint32_t>(text);
    layout.associated_offset = kCounterSize;
    layout.associated_length = static_cast<uint32_t>(associated.size);
    const uint8_t* const last = nonce.data + nonce.size - kCounterSize;
    if (!extended) memcpy(layout.nonce_prefix, nonce.data, sizeof(layout.nonce_prefix));
    const int result = Aead::Create(AeadCipher::kChaCha20Poly1305, key, kKeySize, layout, 1, &aead);
    explicit_bzero(subkey, sizeof(subkey));
    if (result < 0) return result;
    packet.resize(text + text_size);
    memcpy(packet.data(), last, kCounterSize);
    if (associated.size > 0) memcpy(packet.data() + kCounterSize, associated.data, associated.size);
    counter = LoadLittleEndian64(last);
    return 0;
  }

  ~MessagePacket() { explicit_bzero(packet.data(), packet.size()); }
};

void Copy(uint8_t* to, const uint8_t* from, size_t size) {
  if (size > 0) memcpy(to, from, size);
}

}  // namespace

int SealMessage(const uint8_t* key, ConstBytes nonce, ConstBytes message, ConstBytes associated,
                uint8_t* sealed) {
  MessagePacket made;
  const size_t size = message.size + Aead::kTagSize;
  const int result = made.Begin(key, nonce, associated, size);
  if (result < 0) return result;
  uint8_t* const text = made.packet.data() + made.text;
  Copy(text, message.data, message.size);
  if (!made.aead->SealPacket(made.packet.data(), message.size, made.counter)) return -EIO;
  memcpy(sealed, text, size);
  return 0;
}

int OpenMessage(const uint8_t* key, ConstBytes nonce, ConstBytes sealed, ConstBytes associated,
                uint8_t* message) {
  if (sealed.size < Aead::kTagSize) return -EBADMSG;
  MessagePacket made;
  const int result = made.Begin(key, nonce, associated, sealed.size);
  if (result < 0) return result;
  const size_t size = sealed.size - Aead::kTagSize;
  uint8_t* const text = made.packet.data() + made.text;
  memcpy(text, sealed.data, sealed.size);
  if (!made.aead->OpenPacket(made.packet.data(), size)) return -EBADMSG;
  Copy(message, text, size);
  return 0;
}

}  // namespace tuntap
