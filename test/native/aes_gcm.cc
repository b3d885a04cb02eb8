// AES-GCM by VAES against OpenSSL's, at each length of text and associated data, in memory of just that size.

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../../src-cpp/cpu/cpu_features.h"
#include "../../src-cpp/crypto/aes_gcm_vaes.h"
#include "../../src-cpp/crypto/evp_cipher.h"
#include "check.h"

using namespace tuntap;

namespace {

constexpr size_t kTagSize = PacketCipher::kTagSize;
constexpr size_t kNonceSize = PacketCipher::kNonceSize;
constexpr size_t kLongest = 600;

using Bytes = std::vector<uint8_t>;

std::mt19937 source;

Bytes Random(size_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(source());
  return bytes;
}

void Compare(AeadCipher kind, const BundledCipher& cipher) {
  const Bytes key = Random(KeyLength(kind));
  std::unique_ptr<PacketCipher> openssl;
  CHECK(EvpCipher::Create(kind, key.data(), &openssl) == 0, "OpenSSL's cipher");
  alignas(64) static uint8_t state[4096];
  CHECK(kVaesStateSize <= sizeof(state), "%zu bytes", kVaesStateSize);
  cipher.init(state, key.data());
  for (size_t associated_size = 0; associated_size <= kLongest; associated_size += 7) {
    for (size_t size = 0; size <= kLongest; size++) {
      const Bytes nonce = Random(kNonceSize), associated = Random(associated_size), text = Random(size);
      Bytes expected(size + kTagSize), sealed(size + kTagSize);
      std::copy(text.begin(), text.end(), expected.begin());
      std::copy(text.begin(), text.end(), sealed.begin());
      CHECK(openssl->Seal(nonce.data(), associated.data(), associated_size, expected.data(), size), "seals");
      cipher.seal(state, nonce.data(), associated.data(), associated_size, sealed.data(), size);
      CHECK(sealed == expected, "%zu bytes, %zu associated", size, associated_size);
      CHECK(cipher.open(state, nonce.data(), associated.data(), associated_size, sealed.data(), size),
            "%zu bytes, %zu associated", size, associated_size);
      CHECK(std::equal(text.begin(), text.end(), sealed.begin()), "%zu bytes", size);
      expected[source() % expected.size()] ^= static_cast<uint8_t>(1 << source() % 8);
      CHECK(!cipher.open(state, nonce.data(), associated.data(), associated_size, expected.data(), size),
            "%zu bytes, changed", size);
    }
  }
}

}  // namespace

int main() {
  if (!Cpu().vaes) {
    std::printf("this processor lacks VAES, VPCLMULQDQ or AVX-512\n");
    return 0;
  }
  CHECK(dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL) != nullptr, "%s", dlerror());
  Compare(AeadCipher::kAes128Gcm, kVaesAes128Gcm);
  Compare(AeadCipher::kAes256Gcm, kVaesAes256Gcm);
  std::printf("passed\n");
}
