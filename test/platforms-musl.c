// What glibc's libstdc++.a needs of its C library and musl lacks, for test/platforms-musl.sh.

#define _GNU_SOURCE
#include <sys/auxv.h>
#include <sys/random.h>

char __libc_single_threaded;

unsigned arc4random(void) {
  unsigned number = 0;
  (void)!getrandom(&number, sizeof(number), 0);
  return number;
}

// "Not found": the caller then looks by itself.
int _dl_find_object(void* address, void* result) {
  (void)address;
  (void)result;
  return -1;
}

// Of arm64's libgcc.
unsigned long __getauxval(unsigned long type) { return getauxval(type); }
