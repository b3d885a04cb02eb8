#pragma once

#include <cstdint>

namespace tuntap {

// The first eight blocks of ChaCha20 (RFC 8439), for a processor with AVX-512. Where there are fewer than
// sixteen, OpenSSL 3 computes four at a time, each four after the last; here two fours don't wait for each
// other. Sets `block0` to block 0, and `out` to 448 bytes of `in`, en- or decrypted by the blocks behind it.
// `out` may be `in`.
void ChaCha20FirstBlocks(const uint32_t key[8], const uint32_t nonce[3], uint8_t block0[64],
                         const uint8_t* in, uint8_t* out);

}  // namespace tuntap
