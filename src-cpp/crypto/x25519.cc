#include "x25519.h"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "allowed_sources.h"
#include "bundled_ciphers.h"
#include "process_symbol.h"

namespace tuntap {
namespace {

constexpr size_t kSize = 32;

// crypto/ecx.h of OpenSSL, the same since 3.0. These are no public API, but they take raw keys, where EVP
// makes three objects and looks up its algorithm for each secret.
struct Primitives {
  int (*derive)(uint8_t* secret, const uint8_t* private_key,
                const uint8_t* public_key) = ProcessSymbol("ossl_x25519");
  void (*make_public)(uint8_t* public_key,
                      const uint8_t* private_key) = ProcessSymbol("ossl_x25519_public_from_private");

  bool work = derive != nullptr && make_public != nullptr && Agree();

  // The keys of RFC 7748 section 6.1: nobody promises that the primitives stay as they are.
  bool Agree() const {
    constexpr uint8_t alice[kSize] = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
                                      0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0,
                                      0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
    constexpr uint8_t bob[kSize] = {0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f,
                                    0x8b, 0x83, 0x80, 0x0e, 0xe6, 0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18,
                                    0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb};
    constexpr uint8_t bob_public[kSize] = {0xde, 0x9e, 0xdb, 0x7d, 0x7b, 0x7d, 0xc1, 0xb4, 0xd3, 0x5b, 0x61,
                                           0xc2, 0xec, 0xe4, 0x35, 0x37, 0x3f, 0x83, 0x43, 0xc8, 0x5b, 0x78,
                                           0x67, 0x4d, 0xad, 0xfc, 0x7e, 0x14, 0x6f, 0x88, 0x2b, 0x4f};
    constexpr uint8_t shared[kSize] = {0x4a, 0x5d, 0x9d, 0x5b, 0xa4, 0xce, 0x2d, 0xe1, 0x72, 0x8e, 0x3b,
                                       0xf4, 0x80, 0x35, 0x0f, 0x25, 0xe0, 0x7e, 0x21, 0xc9, 0x47, 0xd1,
                                       0x9e, 0x33, 0x76, 0xf0, 0x9b, 0x3c, 0x1e, 0x16, 0x17, 0x42};
    uint8_t key[kSize];
    uint8_t secret[kSize];
    make_public(key, bob);
    return memcmp(key, bob_public, kSize) == 0 && derive(secret, alice, key) == 1 &&
           memcmp(secret, shared, kSize) == 0;
  }
};

// openssl/evp.h, the same since OpenSSL 1.1.1.
struct Evp {
  void* (*new_private)(int, void*, const uint8_t*, size_t) = ProcessSymbol("EVP_PKEY_new_raw_private_key");
  void* (*new_public)(int, void*, const uint8_t*, size_t) = ProcessSymbol("EVP_PKEY_new_raw_public_key");
  int (*get_public)(const void*, uint8_t*, size_t*) = ProcessSymbol("EVP_PKEY_get_raw_public_key");
  void (*key_free)(void*) = ProcessSymbol("EVP_PKEY_free");
  void* (*context_new)(void*, void*) = ProcessSymbol("EVP_PKEY_CTX_new");
  void (*context_free)(void*) = ProcessSymbol("EVP_PKEY_CTX_free");
  int (*derive_init)(void*) = ProcessSymbol("EVP_PKEY_derive_init");
  int (*set_peer)(void*, void*) = ProcessSymbol("EVP_PKEY_derive_set_peer");
  int (*derive)(void*, uint8_t*, size_t*) = ProcessSymbol("EVP_PKEY_derive");
  void (*clear_errors)() = ProcessSymbol("ERR_clear_error");

  bool complete = new_private && new_public && get_public && key_free && context_new && context_free &&
                  derive_init && set_peer && derive && clear_errors;
};

constexpr int kX25519 = 1034;  // NID_X25519

const Primitives& ThePrimitives() {
  static const Primitives primitives{};
  return primitives;
}

const Evp& TheEvp() {
  static const Evp evp{};
  return evp;
}

int OpensslPublicKey(const uint8_t* private_key, uint8_t* public_key) {
  if (ThePrimitives().work) {
    ThePrimitives().make_public(public_key, private_key);
    return 0;
  }
  const Evp& evp = TheEvp();
  if (!evp.complete) return -ENOSYS;
  void* const key = evp.new_private(kX25519, nullptr, private_key, kSize);
  size_t size = kSize;
  const bool made = key != nullptr && evp.get_public(key, public_key, &size) == 1;
  evp.key_free(key);
  if (!made) evp.clear_errors();
  return made ? 0 : -ENOTSUP;
}

int OpensslX25519(const uint8_t* private_key, const uint8_t* public_key, uint8_t* secret) {
  if (ThePrimitives().work) return ThePrimitives().derive(secret, private_key, public_key) == 1 ? 0 : -EDOM;
  const Evp& evp = TheEvp();
  if (!evp.complete) return -ENOSYS;
  void* const ours = evp.new_private(kX25519, nullptr, private_key, kSize);
  void* const theirs = evp.new_public(kX25519, nullptr, public_key, kSize);
  void* const context = ours != nullptr && theirs != nullptr ? evp.context_new(ours, nullptr) : nullptr;
  size_t size = kSize;
  int result = -ENOTSUP;
  if (context != nullptr && evp.derive_init(context) == 1 && evp.set_peer(context, theirs) == 1) {
    result = evp.derive(context, secret, &size) == 1 ? 0 : -EDOM;
  }
  evp.context_free(context);
  evp.key_free(theirs);
  evp.key_free(ours);
  // Node's own crypto must not find errors of ours in OpenSSL's queue of this thread.
  if (result != 0) evp.clear_errors();
  return result;
}

}  // namespace

int X25519PublicKey(const uint8_t* private_key, uint8_t* public_key) {
  constexpr uint8_t base[kSize] = {9};
  const AllowedSources allowed;
  const int result = allowed.openssl ? OpensslPublicKey(private_key, public_key) : -ENOSYS;
  if (result == 0 || !allowed.bundled) return result;
  return BundledX25519(private_key, base, public_key);
}

int X25519(const uint8_t* private_key, const uint8_t* public_key, uint8_t* secret) {
  const AllowedSources allowed;
  const int result = allowed.openssl ? OpensslX25519(private_key, public_key, secret) : -ENOSYS;
  if ((result != -ENOSYS && result != -ENOTSUP) || !allowed.bundled) return result;
  return BundledX25519(private_key, public_key, secret);
}

}  // namespace tuntap
