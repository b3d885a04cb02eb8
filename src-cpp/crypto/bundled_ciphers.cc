#include "bundled_ciphers.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "aes_gcm_vaes.h"
#include "cpu/cpu_features.h"

// Weak: null where src-zig/ is not linked in.
#define BUNDLED extern "C" __attribute__((weak, visibility("hidden")))
#if defined(__x86_64__)
BUNDLED const tuntap::BundledCiphers tuntap_ciphers_avx2;
BUNDLED const tuntap::BundledCiphers tuntap_ciphers_sse2;
#elif defined(__aarch64__)
BUNDLED const tuntap::BundledCiphers tuntap_ciphers_neon_aes;
BUNDLED const tuntap::BundledCiphers tuntap_ciphers_neon;
#endif
BUNDLED int tuntap_x25519(uint8_t* secret, const uint8_t* private_key, const uint8_t* public_key);
#undef BUNDLED

namespace tuntap {
namespace {

struct Levels {
  const BundledCiphers* list[4] = {};
  BundledCiphers vaes = {};

  Levels() {
    size_t count = 0;
    const auto add = [&](const BundledCiphers* level) {
      if (level != nullptr) list[count++] = level;
    };
    const CpuFeatures& found = Cpu();
#if defined(__x86_64__)
    if (found.x86_64_v3 && found.vaes && &tuntap_ciphers_avx2 != nullptr) {
      vaes = {"vaes",
              std::max(kVaesStateSize, tuntap_ciphers_avx2.state_size),
              {tuntap_ciphers_avx2.ciphers[0], kVaesAes128Gcm, kVaesAes256Gcm}};
      add(&vaes);
    }
    if (found.x86_64_v3) add(&tuntap_ciphers_avx2);
    add(&tuntap_ciphers_sse2);
#elif defined(__aarch64__)
    if (found.aes_gcm) add(&tuntap_ciphers_neon_aes);
    add(&tuntap_ciphers_neon);
#else
    (void)found;
    (void)add;
#endif
  }
};

class Bundled final : public PacketCipher {
 public:
  Bundled(const BundledCiphers& level, AeadCipher cipher, const uint8_t* key)
      : calls_(level.ciphers[static_cast<size_t>(cipher)]),
        state_size_(level.state_size),
        state_(operator new(level.state_size, kAlignment)) {
    calls_.init(state_, key);
  }

  ~Bundled() override {
    explicit_bzero(state_, state_size_);
    operator delete(state_, kAlignment);
  }

  bool Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length, uint8_t* text,
            size_t length) override {
    calls_.seal(state_, nonce, associated, associated_length, text, length);
    return true;
  }

  bool Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length, uint8_t* text,
            size_t length) override {
    return calls_.open(state_, nonce, associated, associated_length, text, length);
  }

 private:
  static constexpr std::align_val_t kAlignment{64};

  const BundledCipher& calls_;
  const size_t state_size_;
  void* const state_;
};

}  // namespace

const BundledCiphers* const* BundledLevels() {
  static const Levels levels;
  return levels.list;
}

int CreateBundledCipher(AeadCipher cipher, const uint8_t* key, const char* level,
                        std::unique_ptr<PacketCipher>* out) {
  const BundledCiphers* const* found = BundledLevels();
  while (*found != nullptr && level != nullptr && strcmp((*found)->level, level) != 0) found++;
  if (*found == nullptr) return -ENOSYS;
  // A processor with AVX2, but without AES: some virtual machines hide it.
  const bool is_aes = cipher != AeadCipher::kChaCha20Poly1305;
  if (is_aes && !Cpu().aes_gcm) return -ENODEV;
  if ((*found)->ciphers[static_cast<size_t>(cipher)].seal == nullptr) return -ENODEV;
  *out = std::make_unique<Bundled>(**found, cipher, key);
  return 0;
}

int BundledX25519(const uint8_t* private_key, const uint8_t* public_key, uint8_t* secret) {
  if (tuntap_x25519 == nullptr) return -ENOSYS;
  return tuntap_x25519(secret, private_key, public_key) == 0 ? 0 : -EDOM;
}

}  // namespace tuntap
