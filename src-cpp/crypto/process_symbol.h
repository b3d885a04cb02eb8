#pragma once

#include <dlfcn.h>

#include <cstring>

namespace tuntap {

// Sets `*function` to the process's symbol of that name. Returns false if there is none.
template <typename Function>
[[nodiscard]] bool FindSymbol(const char* name, Function* function) {
  void* found = dlsym(RTLD_DEFAULT, name);
  static_assert(sizeof(found) == sizeof(*function));
  memcpy(function, &found, sizeof(found));
  return found != nullptr;
}

}  // namespace tuntap
