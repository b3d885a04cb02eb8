#include "evp_cipher.h"

#include <cerrno>

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

// Node's own crypto must not find errors of ours in OpenSSL's queue of this thread.
bool Succeeded(bool success) {
  if (!success) TheEvp().clear_errors();
  return success;
}

// What sealing and opening begin with.
bool Begin(void* context, int encrypt, const uint8_t* nonce, const uint8_t* associated,
           size_t associated_length, uint8_t* text, size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  if (evp.init(context, nullptr, nullptr, nullptr, nonce, encrypt) != 1) return false;
  if (associated_length > 0 &&
      evp.update(context, nullptr, &ignored, associated, static_cast<int>(associated_length)) != 1) {
    return false;
  }
  return length == 0 || evp.update(context, text, &ignored, text, static_cast<int>(length)) == 1;
}

}  // namespace

int EvpCipher::Create(AeadCipher cipher, const uint8_t* key, std::unique_ptr<PacketCipher>* out) {
  const Evp& evp = TheEvp();
  if (!evp.complete) return -ENOSYS;
  const void* const found = FindCipher(cipher);
  if (found == nullptr) return -ENOTSUP;
  const uint8_t nonce[kNonceSize] = {};
  std::unique_ptr<EvpCipher> made(new EvpCipher());
  made->seal_ = evp.context_new();
  made->open_ = evp.context_new();
  // A nonce of 12 bytes is each of these ciphers' default.
  const bool ready = made->seal_ != nullptr && made->open_ != nullptr &&
                     evp.init(made->seal_, found, nullptr, key, nonce, 1) == 1 &&
                     evp.init(made->open_, found, nullptr, key, nonce, 0) == 1;
  if (!Succeeded(ready)) return -ENOTSUP;
  *out = std::move(made);
  return 0;
}

EvpCipher::~EvpCipher() {
  if (seal_ != nullptr) TheEvp().context_free(seal_);
  if (open_ != nullptr) TheEvp().context_free(open_);
}

bool EvpCipher::Seal(const uint8_t* nonce, const uint8_t* associated, size_t associated_length, uint8_t* text,
                     size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  return Succeeded(Begin(seal_, 1, nonce, associated, associated_length, text, length) &&
                   evp.final(seal_, text + length, &ignored) == 1 &&
                   evp.control(seal_, kCtrlGetTag, kTagSize, text + length) == 1);
}

bool EvpCipher::Open(const uint8_t* nonce, const uint8_t* associated, size_t associated_length, uint8_t* text,
                     size_t length) {
  const Evp& evp = TheEvp();
  int ignored = 0;
  uint8_t none[kTagSize];
  return Succeeded(Begin(open_, 0, nonce, associated, associated_length, text, length) &&
                   evp.control(open_, kCtrlSetTag, kTagSize, text + length) == 1 &&
                   evp.final(open_, none, &ignored) == 1);
}

}  // namespace tuntap
