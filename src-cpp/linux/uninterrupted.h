#pragma once

#include <cerrno>

namespace tuntap {

// Makes a system call until no signal interrupts it. Returns its result, or -errno.
template <typename Call>
auto Uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result < 0 ? static_cast<decltype(result)>(-errno) : result;
}

}  // namespace tuntap
