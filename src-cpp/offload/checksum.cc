#include "checksum.h"

#include "packet_headers.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/cpu_features.h"
#endif

namespace tuntap {
namespace {

template <typename Word, bool kCopies>
inline Word Take(uint8_t* to, const uint8_t* from, size_t at) {
  const Word word = LoadAsIs<Word>(from + at);
  if constexpr (kCopies) std::memcpy(to + at, &word, sizeof(word));
  return word;
}

// Adds with end-around carry at 64 bits (RFC 1071 section 2(C)). The compiler makes an add with carry of it,
// which is the fastest way for headers.
template <bool kCopies>
inline uint64_t SumTail(uint8_t* to, const uint8_t* from, size_t at, size_t length, uint64_t sum) {
  for (; at + 8 <= length; at += 8) {
    const uint64_t word = Take<uint64_t, kCopies>(to, from, at);
    sum += word;
    sum += sum < word;
  }
  uint64_t rest = 0;
  if (length & 4) {
    rest += Take<uint32_t, kCopies>(to, from, at);
    at += 4;
  }
  if (length & 2) {
    rest += Take<uint16_t, kCopies>(to, from, at);
    at += 2;
  }
  if (length & 1) {
    const uint8_t padded[2] = {Take<uint8_t, kCopies>(to, from, at), 0};
    rest += LoadAsIs<uint16_t>(padded);
  }
  sum += rest;
  return sum + (sum < rest);
}

// Adds the halves of 64-bit words: 2^32 words of 32 bits fit into a 64-bit sum without a carry, so the
// compiler can use vectors.
template <bool kCopies>
inline uint64_t SumWords(uint8_t* to, const uint8_t* from, size_t length) {
  size_t at = 0;
  uint64_t sum = 0;
  if (length >= 128) {
    uint64_t low[4] = {0, 0, 0, 0};
    uint64_t high[4] = {0, 0, 0, 0};
    for (; at + 32 <= length; at += 32) {
#pragma GCC unroll 4
      for (size_t lane = 0; lane < 4; lane++) {
        const uint64_t word = Take<uint64_t, kCopies>(to, from, at + 8 * lane);
        low[lane] += word & 0xffffffff;
        high[lane] += word >> 32;
      }
    }
    for (size_t lane = 0; lane < 4; lane++) sum += low[lane] + high[lane];
  }
  return SumTail<kCopies>(to, from, at, length, sum);
}

#if defined(__x86_64__)

template <bool kCopies>
__attribute__((target("avx2"))) inline uint64_t SumWordsAvx2(uint8_t* to, const uint8_t* from,
                                                             size_t length) {
  constexpr size_t kVectors = 4;
  const __m256i low_half = _mm256_set1_epi64x(0xffffffff);
  __m256i low[kVectors], high[kVectors];
#pragma GCC unroll 4
  for (size_t i = 0; i < kVectors; i++) low[i] = high[i] = _mm256_setzero_si256();
  size_t at = 0;
  for (; at + 32 * kVectors <= length; at += 32 * kVectors) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; i++) {
      const size_t position = at + 32 * i;
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + position));
      if constexpr (kCopies) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + position), words);
      low[i] = _mm256_add_epi64(low[i], _mm256_and_si256(words, low_half));
      high[i] = _mm256_add_epi64(high[i], _mm256_srli_epi64(words, 32));
    }
  }
  for (; at + 32 <= length; at += 32) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    if constexpr (kCopies) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at), words);
    low[0] = _mm256_add_epi64(low[0], _mm256_and_si256(words, low_half));
    high[0] = _mm256_add_epi64(high[0], _mm256_srli_epi64(words, 32));
  }
  __m256i total = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (size_t i = 0; i < kVectors; i++) {
    total = _mm256_add_epi64(total, _mm256_add_epi64(low[i], high[i]));
  }
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  const uint64_t sum =
      static_cast<uint64_t>(_mm_extract_epi64(half, 0)) + static_cast<uint64_t>(_mm_extract_epi64(half, 1));
  return SumTail<kCopies>(to, from, at, length, sum);
}

// For shorter ranges, moving words into vectors and back costs more than it saves.
constexpr size_t kAvx2Threshold = 64;
const bool kHasAvx2 = checksum_versions::HasAvx2();

#endif

}  // namespace

namespace checksum_versions {

uint16_t PartialGeneric(const uint8_t* bytes, size_t length) {
  return ChecksumFold(SumWords<false>(nullptr, bytes, length));
}

uint16_t CopyGeneric(uint8_t* to, const uint8_t* from, size_t length) {
  return ChecksumFold(SumWords<true>(to, from, length));
}

#if defined(__x86_64__)

bool HasAvx2() { return Cpu().avx2; }

__attribute__((target("avx2"))) uint16_t PartialAvx2(const uint8_t* bytes, size_t length) {
  return ChecksumFold(SumWordsAvx2<false>(nullptr, bytes, length));
}

__attribute__((target("avx2"))) uint16_t CopyAvx2(uint8_t* to, const uint8_t* from, size_t length) {
  return ChecksumFold(SumWordsAvx2<true>(to, from, length));
}

#endif

}  // namespace checksum_versions

uint16_t ChecksumPartial(const uint8_t* bytes, size_t length) {
#if defined(__x86_64__)
  if (length >= kAvx2Threshold && kHasAvx2) return checksum_versions::PartialAvx2(bytes, length);
#endif
  return checksum_versions::PartialGeneric(bytes, length);
}

uint16_t ChecksumCopy(uint8_t* to, const uint8_t* from, size_t length) {
#if defined(__x86_64__)
  if (length >= kAvx2Threshold && kHasAvx2) return checksum_versions::CopyAvx2(to, from, length);
#endif
  return checksum_versions::CopyGeneric(to, from, length);
}

}  // namespace tuntap
