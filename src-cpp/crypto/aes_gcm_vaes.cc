#include "aes_gcm_vaes.h"

#if defined(__x86_64__)

#include <cstring>

#include "avx512.h"

#define VAES_TARGET AVX512_FEATURES ",avx512bw,vaes,vpclmulqdq,aes,pclmul"
#define VAES __attribute__((target(VAES_TARGET), always_inline)) inline
#define VAES_CALL __attribute__((target(VAES_TARGET)))

// AES-GCM (NIST SP 800-38D) with nonces of 96 bits.
//
// A vector has four blocks, one in each lane of 128 bits. Text goes by chunks of four vectors, so that four
// chains of AES rounds hide each other's latency. While the processor hashes a chunk it encrypts the next
// one, without being told: no block of the key stream depends on the hash.
//
// GHASH reads a block's first bit as the coefficient of x^0. With the bytes reversed, a block is a number
// whose bit 127 - i is the coefficient of x^i. A carry-less product of two such numbers is then one bit short
// of its place in 256 bits; the powers of the hash key are kept divided by x, which moves the product there.
namespace tuntap {
namespace {

constexpr size_t kBlock = 16;
constexpr size_t kVector = 64;
constexpr size_t kChunk = 4 * kVector;
constexpr size_t kChunkBlocks = kChunk / kBlock;
// One reduction takes the blocks of a chunk and one more, that of the lengths.
constexpr size_t kPowers = kChunkBlocks + 1;
// Since x^128 = x^7 + x^2 + x + 1, 1/x is x^127 + x^6 + x + 1: bits 0, 121, 126 and 127. These are the upper
// three, as the upper half of a number.
constexpr uint64_t kPolynomial = 0xc200000000000000;

struct Key {
  __m128i rounds[15];
  // The hash key to the power of 17 down to 1, each divided by x; zeros behind them for vectors that begin at
  // one of the last three. A chunk begins with power 16, which is aligned to 64 bytes here.
  __m128i powers[kPowers + 3];
};

// A product before its reduction: low + middle * 2^64 + high * 2^128. The sum of its lanes counts.
struct Product {
  __m512i low;
  __m512i middle;
  __m512i high;
};

VAES __m512i Xor3(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }

VAES __m128i ReversedOrder() { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

VAES __m128i Reversed(__m128i block) { return _mm_shuffle_epi8(block, ReversedOrder()); }

VAES __m512i Reversed(__m512i blocks) {
  return _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(ReversedOrder()));
}

// Adds blocks times powers, lane by lane.
VAES void AddProduct(Product* sum, __m512i blocks, const __m128i* powers) {
  const __m512i factors = _mm512_loadu_si512(powers);
  sum->low = _mm512_xor_si512(sum->low, _mm512_clmulepi64_epi128(blocks, factors, 0x00));
  sum->middle = Xor3(sum->middle, _mm512_clmulepi64_epi128(blocks, factors, 0x01),
                     _mm512_clmulepi64_epi128(blocks, factors, 0x10));
  sum->high = _mm512_xor_si512(sum->high, _mm512_clmulepi64_epi128(blocks, factors, 0x11));
}

VAES __m128i SumOfLanes(__m512i lanes) {
  const __m256i two = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
  return _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}

// Adds such multiples of the polynomial that the product's lower half becomes 0: the upper half is what
// remains. The polynomial is 2^128 + kPolynomial * 2^64 + 1: for m in the lowest 64 bits, m times that clears
// them, and adds m * kPolynomial 64 bits and m 128 bits above them.
VAES __m128i Reduced(const Product& product) {
  const __m128i polynomial = _mm_set_epi64x(0, static_cast<long long>(kPolynomial));
  const __m128i low = SumOfLanes(product.low);
  __m128i middle = SumOfLanes(product.middle);
  middle = _mm_xor_si128(middle, _mm_shuffle_epi32(low, 0x4e));
  middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(low, polynomial, 0x00));
  __m128i high = SumOfLanes(product.high);
  high = _mm_xor_si128(high, _mm_shuffle_epi32(middle, 0x4e));
  return _mm_xor_si128(high, _mm_clmulepi64_si128(middle, polynomial, 0x00));
}

VAES __m128i Multiply(__m128i a, const __m128i* power) {
  Product product = {};
  AddProduct(&product, _mm512_zextsi128_si512(a), power);
  return Reduced(product);
}

// Of a vector's bytes, those that are there if `left` bytes are left.
VAES __mmask64 MaskOf(size_t left) { return left >= kVector ? ~__mmask64{0} : (__mmask64{1} << left) - 1; }

// Hashes bytes, and zeros up to a whole block, after `sum`.
VAES __m128i Hash(const Key& key, __m128i sum, const uint8_t* bytes, size_t length) {
  while (length > 0) {
    const size_t taken = length < kChunk ? length : kChunk;
    const __m128i* power = key.powers + kPowers - (taken + kBlock - 1) / kBlock;
    Product product = {};
    __m512i before = _mm512_zextsi128_si512(sum);
    for (size_t at = 0; at < taken; at += kVector, power += 4) {
      const __m512i blocks = Reversed(_mm512_maskz_loadu_epi8(MaskOf(taken - at), bytes + at));
      AddProduct(&product, _mm512_xor_si512(blocks, before), power);
      before = _mm512_setzero_si512();
    }
    sum = Reduced(product);
    bytes += taken;
    length -= taken;
  }
  return sum;
}

template <int kRounds>
VAES __m128i Encrypt(const Key& key, __m128i block) {
  block = _mm_xor_si128(block, key.rounds[0]);
  for (int i = 1; i < kRounds; i++) block = _mm_aesenc_si128(block, key.rounds[i]);
  return _mm_aesenclast_si128(block, key.rounds[kRounds]);
}

// Encrypts counters, whose bytes are reversed, and sets them to those of the next vector. The loops have
// constant bounds, so that compilers unroll them.
template <int kRounds, int kVectors>
VAES void MakeStream(const Key& key, __m512i* counters, __m512i* stream) {
  const __m512i first = _mm512_broadcast_i32x4(key.rounds[0]);
  for (int v = 0; v < kVectors; v++) {
    stream[v] = _mm512_xor_si512(Reversed(*counters), first);
    *counters = _mm512_add_epi32(*counters, _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 4)));
  }
  for (int i = 1; i < kRounds; i++) {
    const __m512i round = _mm512_broadcast_i32x4(key.rounds[i]);
    for (int v = 0; v < kVectors; v++) stream[v] = _mm512_aesenc_epi128(stream[v], round);
  }
  const __m512i last = _mm512_broadcast_i32x4(key.rounds[kRounds]);
  for (int v = 0; v < kVectors; v++) stream[v] = _mm512_aesenclast_epi128(stream[v], last);
}

// Encrypts or decrypts text in place. Returns the tag.
template <int kRounds, bool kSeals>
VAES __m128i Crypt(const Key& key, const uint8_t* nonce, const uint8_t* associated, size_t associated_length,
                   uint8_t* text, const size_t length) {
  uint32_t words[3];
  memcpy(words, nonce, sizeof(words));
  const __m128i tag_counter = _mm_set_epi32(0x01000000, static_cast<int>(words[2]),
                                            static_cast<int>(words[1]), static_cast<int>(words[0]));
  __m512i counters = _mm512_add_epi32(_mm512_broadcast_i32x4(Reversed(tag_counter)),
                                      _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
  __m512i sum = _mm512_zextsi128_si512(Hash(key, _mm_setzero_si128(), associated, associated_length));

  size_t left = length;
  for (; left >= kChunk; left -= kChunk, text += kChunk) {
    __m512i stream[4];
    MakeStream<kRounds, 4>(key, &counters, stream);
    Product product = {};
    for (size_t v = 0; v < 4; v++) {
      const __m512i in = _mm512_loadu_si512(text + v * kVector);
      const __m512i out = _mm512_xor_si512(in, stream[v]);
      _mm512_storeu_si512(text + v * kVector, out);
      const __m512i blocks = Reversed(kSeals ? out : in);
      AddProduct(&product, v == 0 ? _mm512_xor_si512(blocks, sum) : blocks, key.powers + 1 + 4 * v);
    }
    sum = _mm512_zextsi128_si512(Reduced(product));
  }

  Product product = {};
  const __m128i* power = key.powers + kPowers - 1 - (left + kBlock - 1) / kBlock;
  for (size_t at = 0; at < left; at += kVector, power += 4) {
    __m512i stream[1];
    MakeStream<kRounds, 1>(key, &counters, stream);
    const __mmask64 mask = MaskOf(left - at);
    const __m512i in = _mm512_maskz_loadu_epi8(mask, text + at);
    const __m512i out = _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(in, stream[0]));
    _mm512_mask_storeu_epi8(text + at, mask, out);
    AddProduct(&product, _mm512_xor_si512(Reversed(kSeals ? out : in), sum), power);
    sum = _mm512_setzero_si512();
  }
  const __m128i lengths =
      _mm_set_epi64x(static_cast<long long>(associated_length) * 8, static_cast<long long>(length) * 8);
  AddProduct(&product, _mm512_xor_si512(_mm512_zextsi128_si512(lengths), sum), key.powers + kPowers - 1);
  // The last thing read of the key: compilers keep on the stack what is read before a store to the text, and
  // there it would stay.
  return _mm_xor_si128(Reversed(Reduced(product)), Encrypt<kRounds>(key, tag_counter));
}

// AES's S-box for the four bytes of a word, by an instruction, so that no table is read.
VAES uint32_t SubstituteWord(uint32_t word) {
  // With equal columns, the shift of rows changes nothing.
  const __m128i columns = _mm_set1_epi32(static_cast<int>(word));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_aesenclast_si128(columns, _mm_setzero_si128())));
}

// FIPS 197, section 5.2; words are little-endian.
template <int kRounds>
VAES void ExpandKey(Key* key, const uint8_t* bytes) {
  constexpr int kWords = kRounds - 6;
  uint32_t words[4 * (kRounds + 1)];
  memcpy(words, bytes, 4 * kWords);
  uint32_t round_constant = 1;
  for (int i = kWords; i < 4 * (kRounds + 1); i++) {
    uint32_t word = words[i - 1];
    if (i % kWords == 0) {
      word = SubstituteWord(word >> 8 | word << 24) ^ round_constant;
      round_constant = round_constant << 1 ^ (round_constant >> 7) * 0x11b;
    } else if (kWords > 6 && i % kWords == 4) {
      word = SubstituteWord(word);
    }
    words[i] = words[i - kWords] ^ word;
  }
  memcpy(key->rounds, words, sizeof(words));
  explicit_bzero(words, sizeof(words));
}

// A number divided by x: one bit to the left, and 1/x for a bit that was lost there.
VAES __m128i DividedByX(__m128i number) {
  const uint64_t low = static_cast<uint64_t>(_mm_cvtsi128_si64(number));
  const uint64_t high = static_cast<uint64_t>(_mm_extract_epi64(number, 1));
  const uint64_t lost = high >> 63;
  return _mm_set_epi64x(static_cast<long long>((high << 1 | low >> 63) ^ lost * kPolynomial),
                        static_cast<long long>(low << 1 ^ lost));
}

template <int kRounds>
VAES_CALL void Init(void* state, const uint8_t* bytes) {
  Key* const key = static_cast<Key*>(state);
  memset(key, 0, sizeof(*key));
  ExpandKey<kRounds>(key, bytes);
  __m128i power = DividedByX(Reversed(Encrypt<kRounds>(*key, _mm_setzero_si128())));
  __m128i* const first = key->powers + kPowers - 1;
  *first = power;
  for (__m128i* next = first; next-- > key->powers;) *next = power = Multiply(power, first);
}

template <int kRounds>
VAES_CALL void Seal(const void* state, const uint8_t* nonce, const uint8_t* associated,
                    size_t associated_length, uint8_t* text, size_t length) {
  const Key& key = *static_cast<const Key*>(state);
  const __m128i tag = Crypt<kRounds, true>(key, nonce, associated, associated_length, text, length);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(text + length), tag);
}

// Decrypts before it knows whether the tag is right, as OpenSSL does.
template <int kRounds>
VAES_CALL bool Open(const void* state, const uint8_t* nonce, const uint8_t* associated,
                    size_t associated_length, uint8_t* text, size_t length) {
  const Key& key = *static_cast<const Key*>(state);
  const __m128i tag = Crypt<kRounds, false>(key, nonce, associated, associated_length, text, length);
  const __m128i given = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + length));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(tag, given)) == 0xffff;
}

}  // namespace

const size_t kVaesStateSize = sizeof(Key);
const BundledCipher kVaesAes128Gcm = {Init<10>, Seal<10>, Open<10>};
const BundledCipher kVaesAes256Gcm = {Init<14>, Seal<14>, Open<14>};

}  // namespace tuntap

#else

namespace tuntap {

const size_t kVaesStateSize = 0;
const BundledCipher kVaesAes128Gcm = {};
const BundledCipher kVaesAes256Gcm = {};

}  // namespace tuntap

#endif
