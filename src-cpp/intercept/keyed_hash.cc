#include "intercept/keyed_hash.h"

#include <sys/random.h>

#include <cstdlib>

namespace tuntap {

HashKey HashKey::Random() {
  HashKey key{};
  // It can't fail: 16 bytes are given whole, and the kernel's pool was filled long before Node.js ran.
  if (getrandom(&key, sizeof(key), 0) != static_cast<ssize_t>(sizeof(key))) std::abort();
  return key;
}

}  // namespace tuntap
