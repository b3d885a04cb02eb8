#ifndef TUNTAP_TEST_CHECK_H_
#define TUNTAP_TEST_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Ends the program at the first failure, so that a sanitizer's report and ours are never mixed up.
#define CHECK(condition, ...)                                                          \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      std::fprintf(stderr, "%s:%d: %s does not hold", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, ": " __VA_ARGS__);                                          \
      std::fprintf(stderr, "\n");                                                      \
      std::abort();                                                                    \
    }                                                                                  \
  } while (false)

#endif  // TUNTAP_TEST_CHECK_H_
