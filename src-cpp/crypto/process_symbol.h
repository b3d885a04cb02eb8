#pragma once

#include <dlfcn.h>

#include <cstring>

namespace tuntap {

// The process's function of that name, or nullptr.
class ProcessSymbol {
 public:
  explicit ProcessSymbol(const char* name) : found_(dlsym(RTLD_DEFAULT, name)) {}

  template <typename Function>
  operator Function*() const {
    Function* function;
    static_assert(sizeof(function) == sizeof(found_));
    memcpy(&function, &found_, sizeof(found_));
    return function;
  }

 private:
  void* found_;
};

}  // namespace tuntap
