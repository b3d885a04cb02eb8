#pragma once

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif

// What this processor and its kernel can do. __builtin_cpu_supports() would need a symbol of the compiler's
// own library, which a cross compiler may not link.

namespace tuntap {

#if defined(__x86_64__)

struct CpuFeatures {
  bool avx2 = false;     // with FMA, BMI1, BMI2, as every processor with AVX2 has them
  bool aes_gcm = false;  // AES and carry-less multiplication
};

inline CpuFeatures FindCpuFeatures() {
  CpuFeatures found;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return found;
  found.aes_gcm = (c & bit_AES) != 0 && (c & bit_PCLMUL) != 0;
  if ((c & bit_OSXSAVE) == 0 || (c & bit_AVX) == 0) return found;
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool kernel_saves_ymm = (low & 6) == 6;
  if (!kernel_saves_ymm || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = (b & bit_AVX2) != 0 && (b & bit_BMI) != 0 && (b & bit_BMI2) != 0;
  return found;
}

#endif

}  // namespace tuntap
