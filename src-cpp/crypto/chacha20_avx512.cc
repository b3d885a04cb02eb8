#include "chacha20_avx512.h"

#if defined(__x86_64__)

#include <cstddef>

#include "avx512.h"

#define AVX512 __attribute__((target(AVX512_FEATURES), always_inline)) inline

namespace tuntap {
namespace {

constexpr size_t kBlockSize = 64;
constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

// Four blocks: each vector has one row of all of them.
struct Rows {
  __m512i a;
  __m512i b;
  __m512i c;
  __m512i d;
};

AVX512 __m512i FourTimes(const uint32_t* words) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
}

// The last row of blocks `first` to `first` + 3.
AVX512 __m512i LastRow(const uint32_t* nonce, int first) {
  const uint32_t last[4] = {0, nonce[0], nonce[1], nonce[2]};
  const __m512i counters =
      _mm512_setr_epi32(first, 0, 0, 0, first + 1, 0, 0, 0, first + 2, 0, 0, 0, first + 3, 0, 0, 0);
  return _mm512_add_epi32(FourTimes(last), counters);
}

AVX512 void QuarterRounds(Rows* v) {
  v->a = _mm512_add_epi32(v->a, v->b);
  v->d = _mm512_rol_epi32(_mm512_xor_si512(v->d, v->a), 16);
  v->c = _mm512_add_epi32(v->c, v->d);
  v->b = _mm512_rol_epi32(_mm512_xor_si512(v->b, v->c), 12);
  v->a = _mm512_add_epi32(v->a, v->b);
  v->d = _mm512_rol_epi32(_mm512_xor_si512(v->d, v->a), 8);
  v->c = _mm512_add_epi32(v->c, v->d);
  v->b = _mm512_rol_epi32(_mm512_xor_si512(v->b, v->c), 7);
}

// Turns diagonals into columns.
AVX512 void Turn(Rows* v) {
  v->b = _mm512_shuffle_epi32(v->b, _MM_PERM_ADCB);
  v->c = _mm512_shuffle_epi32(v->c, _MM_PERM_BADC);
  v->d = _mm512_shuffle_epi32(v->d, _MM_PERM_CBAD);
}

AVX512 void TurnBack(Rows* v) {
  v->b = _mm512_shuffle_epi32(v->b, _MM_PERM_CBAD);
  v->c = _mm512_shuffle_epi32(v->c, _MM_PERM_BADC);
  v->d = _mm512_shuffle_epi32(v->d, _MM_PERM_ADCB);
}

AVX512 void Add(Rows* v, const Rows& start) {
  v->a = _mm512_add_epi32(v->a, start.a);
  v->b = _mm512_add_epi32(v->b, start.b);
  v->c = _mm512_add_epi32(v->c, start.c);
  v->d = _mm512_add_epi32(v->d, start.d);
}

// Makes blocks of rows.
AVX512 void Transpose(Rows* v) {
  const __m512i ab01 = _mm512_shuffle_i32x4(v->a, v->b, 0x44);
  const __m512i cd01 = _mm512_shuffle_i32x4(v->c, v->d, 0x44);
  const __m512i ab23 = _mm512_shuffle_i32x4(v->a, v->b, 0xee);
  const __m512i cd23 = _mm512_shuffle_i32x4(v->c, v->d, 0xee);
  v->a = _mm512_shuffle_i32x4(ab01, cd01, 0x88);
  v->b = _mm512_shuffle_i32x4(ab01, cd01, 0xdd);
  v->c = _mm512_shuffle_i32x4(ab23, cd23, 0x88);
  v->d = _mm512_shuffle_i32x4(ab23, cd23, 0xdd);
}

AVX512 void Xor(const uint8_t* in, uint8_t* out, size_t block, __m512i stream) {
  const size_t at = block * kBlockSize;
  _mm512_storeu_si512(out + at, _mm512_xor_si512(_mm512_loadu_si512(in + at), stream));
}

}  // namespace

__attribute__((target(AVX512_FEATURES))) void ChaCha20FirstBlocks(const uint32_t key[8],
                                                                  const uint32_t nonce[3], uint8_t block0[64],
                                                                  const uint8_t* in, uint8_t* out) {
  const Rows start = {FourTimes(kConstants), FourTimes(key), FourTimes(key + 4), LastRow(nonce, 0)};
  Rows low = start;  // blocks 0 to 3
  Rows high = {start.a, start.b, start.c, LastRow(nonce, 4)};
  for (int round = 0; round < 10; round++) {
    QuarterRounds(&low);
    QuarterRounds(&high);
    Turn(&low);
    Turn(&high);
    QuarterRounds(&low);
    QuarterRounds(&high);
    TurnBack(&low);
    TurnBack(&high);
  }
  Add(&low, start);
  Add(&high, {start.a, start.b, start.c, LastRow(nonce, 4)});
  Transpose(&low);
  Transpose(&high);
  _mm512_storeu_si512(block0, low.a);
  Xor(in, out, 0, low.b);
  Xor(in, out, 1, low.c);
  Xor(in, out, 2, low.d);
  Xor(in, out, 3, high.a);
  Xor(in, out, 4, high.b);
  Xor(in, out, 5, high.c);
  Xor(in, out, 6, high.d);
}

}  // namespace tuntap

#else

namespace tuntap {

void ChaCha20FirstBlocks(const uint32_t*, const uint32_t*, uint8_t*, const uint8_t*, uint8_t*) {}

}  // namespace tuntap

#endif
