#pragma once

#if defined(__x86_64__)

// GCC 12 warns of its own header (bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

// The features of functions on 512-bit registers. From version 18 on, clang has one of its own for these
// registers, which GCC does not know.
#if defined(__clang__) && __clang_major__ >= 18
#define AVX512_FEATURES "avx512f,evex512"
#else
#define AVX512_FEATURES "avx512f"
#endif

#endif
