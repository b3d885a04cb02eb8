// Preloaded into a test's process, it hides from dlsym(3) the names that begin with $HIDE, as in a runtime
// without them, and gives a function that does nothing for the name $FAKE, as if its meaning had changed.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void nothing(void) {}

void* dlsym(void* handle, const char* name) {
  // dlsym's own version: since glibc 2.34, before it on x86-64, before it on arm64.
  static const char* const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  const char* const hidden = getenv("HIDE");
  const char* const fake = getenv("FAKE");
  if (hidden != NULL && strncmp(name, hidden, strlen(hidden)) == 0) return NULL;
  // Not strcmp(3): AddressSanitizer's own asks for names before it can compare.
  if (fake != NULL && strncmp(name, fake, strlen(fake) + 1) == 0) return (void*)nothing;
  void* (*real)(void*, const char*) = NULL;
  for (size_t i = 0; real == NULL && i < sizeof(versions) / sizeof(versions[0]); i++) {
    *(void**)&real = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  }
  return real == NULL ? NULL : real(handle, name);
}
