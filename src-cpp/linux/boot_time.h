#pragma once

#include <ctime>

namespace tuntap {

// Milliseconds since the machine started, those of suspension included.
inline double BootTime() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace tuntap
