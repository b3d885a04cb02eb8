#pragma once

#include <cstdint>
#include <ctime>

namespace tuntap {

// Milliseconds since the machine started, those of suspension included.
inline double BootTime() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

// Milliseconds that the machine has run, as exact as the kernel's tick. Cheap enough for every batch.
inline uint64_t CoarseTime() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace tuntap
