#pragma once

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tuntap {

// What this processor and its kernel can do.
struct CpuFeatures {
  bool avx2 = false;
  bool avx512 = false;     // AVX512F
  bool x86_64_v3 = false;  // AVX2 and what compilers use with it
  bool aes_gcm = false;    // instructions for AES and for carry-less products
  bool vaes = false;       // the same for vectors of 512 bits, with AVX512F and AVX512BW
};

#if defined(__x86_64__)

// __builtin_cpu_supports() would need a symbol of the compiler's own library, which a cross compiler may
// lack.
inline CpuFeatures FindCpuFeatures() {
  CpuFeatures found;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return found;
  found.aes_gcm = (c & bit_AES) != 0 && (c & bit_PCLMUL) != 0;
  const bool has_avx = (c & bit_AVX) != 0 && (c & bit_OSXSAVE) != 0;
  const bool has_companions = (c & bit_FMA) != 0 && (c & bit_MOVBE) != 0 && (c & bit_F16C) != 0;
  if (!has_avx) return found;
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool kernel_keeps_ymm = (low & 6) == 6;
  if (!kernel_keeps_ymm || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = (b & bit_AVX2) != 0;
  const bool kernel_keeps_zmm = (low & 0xe6) == 0xe6;
  found.avx512 = kernel_keeps_zmm && (b & bit_AVX512F) != 0;
  found.vaes = found.avx512 && found.aes_gcm && (b & bit_AVX512BW) != 0 && (c & bit_VAES) != 0 &&
               (c & bit_VPCLMULQDQ) != 0;
  const bool has_bmi = (b & bit_BMI) != 0 && (b & bit_BMI2) != 0;
  const bool has_lzcnt = __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & bit_LZCNT) != 0;
  found.x86_64_v3 = found.avx2 && has_companions && has_bmi && has_lzcnt;
  return found;
}

#elif defined(__aarch64__)

inline CpuFeatures FindCpuFeatures() {
  CpuFeatures found;
  const unsigned long capabilities = getauxval(AT_HWCAP);
  found.aes_gcm = (capabilities & HWCAP_AES) != 0 && (capabilities & HWCAP_PMULL) != 0;
  return found;
}

#else

inline CpuFeatures FindCpuFeatures() { return {}; }

#endif

// Found once: in a virtual machine, to ask the processor takes long.
inline const CpuFeatures& Cpu() {
  static const CpuFeatures found = FindCpuFeatures();
  return found;
}

}  // namespace tuntap
