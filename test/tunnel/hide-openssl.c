// Preloaded into a test's process, it hides from dlsym(3) the names that begin with $HIDE, as in a runtime
// without them. For the name $FAKE it gives a function that does less than OpenSSL's, as if its meaning had
// changed: it ignores what $IGNORES says, or does nothing at all.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void nothing(void) {}

static void (*chacha20)(uint8_t*, const uint8_t*, size_t, const uint32_t*, const uint32_t*);
static void (*poly1305_update)(void*, const uint8_t*, size_t);
static int calls;

static void without_nonce(uint8_t* out, const uint8_t* in, size_t length, const uint32_t* key,
                          const uint32_t* counter) {
  const uint32_t block[4] = {counter[0], 0, 0, 0};
  chacha20(out, in, length, key, block);
}

static void without_counter(uint8_t* out, const uint8_t* in, size_t length, const uint32_t* key,
                            const uint32_t* counter) {
  const uint32_t block[4] = {0, counter[1], counter[2], counter[3]};
  chacha20(out, in, length, key, block);
}

static void without_tail(uint8_t* out, const uint8_t* in, size_t length, const uint32_t* key,
                         const uint32_t* counter) {
  chacha20(out, in, length > 512 ? 512 : length, key, counter);
}

// Of a packet's four updates, the first has the associated data.
static void without_data(void* state, const uint8_t* in, size_t length) {
  if (calls++ % 4 == 0) {
    static const uint8_t zeros[4096];
    in = zeros;
  }
  poly1305_update(state, in, length);
}

static void* fake(void* real, const char* ignored) {
  if (ignored == NULL) return (void*)nothing;
  if (strcmp(ignored, "data") == 0) {
    *(void**)&poly1305_update = real;
    return (void*)without_data;
  }
  *(void**)&chacha20 = real;
  if (strcmp(ignored, "nonce") == 0) return (void*)without_nonce;
  return strcmp(ignored, "counter") == 0 ? (void*)without_counter : (void*)without_tail;
}

void* dlsym(void* handle, const char* name) {
  // dlsym's own version: since glibc 2.34, before it on x86-64, before it on arm64.
  static const char* const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  const char* const hidden = getenv("HIDE");
  const char* const faked = getenv("FAKE");
  if (hidden != NULL && strncmp(name, hidden, strlen(hidden)) == 0) return NULL;
  void* (*real)(void*, const char*) = NULL;
  for (size_t i = 0; real == NULL && i < sizeof(versions) / sizeof(versions[0]); i++) {
    *(void**)&real = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  }
  void* const found = real == NULL ? NULL : real(handle, name);
  // Not strcmp(3): AddressSanitizer's own asks for names before it can compare.
  if (faked == NULL || strncmp(name, faked, strlen(faked) + 1) != 0) return found;
  return fake(found, getenv("IGNORES"));
}
