#pragma once

#include <cstdlib>
#include <string_view>

namespace tuntap {

// Where ciphers may come from: the process's OpenSSL, else the bundled ones. For tests, TUNTAP_CIPHERS allows
// one source alone: "openssl", "bundled", or a level of the latter, such as "bundled-sse2".
struct AllowedSources {
  bool openssl = true;
  bool bundled = true;
  const char* level = nullptr;  // nullptr: any

  AllowedSources() {
    constexpr std::string_view kBundled = "bundled";
    const char* const given = getenv("TUNTAP_CIPHERS");
    if (given == nullptr) return;
    bundled = std::string_view(given).substr(0, kBundled.size()) == kBundled;
    openssl = !bundled;
    if (bundled && given[kBundled.size()] == '-') level = given + kBundled.size() + 1;
  }
};

}  // namespace tuntap
