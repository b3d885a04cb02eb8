#pragma once

#include <cstddef>

#include "bundled_ciphers.h"

namespace tuntap {

// AES-GCM for a processor with VAES, VPCLMULQDQ and AVX-512, that is where Cpu().vaes is true: it encrypts
// and hashes four blocks with one instruction. Elsewhere than on x64, null.
extern const size_t kVaesStateSize;
extern const BundledCipher kVaesAes128Gcm;
extern const BundledCipher kVaesAes256Gcm;

}  // namespace tuntap
