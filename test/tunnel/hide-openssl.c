// Preloaded into a test's process, it hides OpenSSL's EVP functions from dlsym(3), as in a runtime without
// them.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

void* dlsym(void* handle, const char* name) {
  // dlsym's own version: since glibc 2.34, before it on x86-64, before it on arm64.
  static const char* const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  if (strncmp(name, "EVP_", 4) == 0) return NULL;
  void* (*real)(void*, const char*) = NULL;
  for (size_t i = 0; real == NULL && i < sizeof(versions) / sizeof(versions[0]); i++) {
    *(void**)&real = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  }
  return real == NULL ? NULL : real(handle, name);
}
