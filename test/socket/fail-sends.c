// Preloaded into a test's process, it makes sendmmsg(2) fail with the errno in FAIL_SENDS for each message
// that asks for UDP_SEGMENT, as where the way out has no checksum offload:
//   FAIL_PORT=N    only messages to this port
//   FAIL_COUNT=N   only the first N times
//   COUNT_CALLS=FILE  writes there at the end how many calls were made that a failed send may cost

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static int calls;
static int failed;

static int number(const char* name, int otherwise) {
  const char* text = getenv(name);
  return text == NULL ? otherwise : atoi(text);
}

static int segmented(struct msghdr* header) {
  for (struct cmsghdr* part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_SEGMENT) return 1;
  }
  return 0;
}

static int fails(struct msghdr* header) {
  const struct sockaddr_in* to = header->msg_name;
  const int port = number("FAIL_PORT", 0);
  if (getenv("FAIL_SENDS") == NULL || !segmented(header) || failed >= number("FAIL_COUNT", INT_MAX)) return 0;
  return port == 0 || (to != NULL && ntohs(to->sin_port) == port);
}

// The addon calls sendmmsg(2) by its number.
long syscall(long call, ...) {
  static long (*real)(long, ...);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "syscall");
  long arguments[6];
  va_list list;
  va_start(list, call);
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
  va_end(list);
  if (call == SYS_sendmmsg) {
    struct mmsghdr* const messages = (struct mmsghdr*)arguments[1];
    const long count = arguments[2];
    calls++;
    long good = 0;
    while (good < count && !fails(&messages[good].msg_hdr)) good++;
    if (good == 0) {
      failed++;
      errno = number("FAIL_SENDS", 0);
      return -1;
    }
    arguments[2] = good;
  }
  return real(call, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  static ssize_t (*real)(int, const struct msghdr*, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "sendmsg");
  calls++;
  return real(fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  static ssize_t (*real)(int, struct msghdr*, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "recvmsg");
  calls++;
  return real(fd, message, flags);
}

int getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  static int (*real)(int, int, int, void*, socklen_t*);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "getsockopt");
  calls++;
  return real(fd, level, name, value, length);
}

__attribute__((destructor)) static void tell(void) {
  if (getenv("COUNT_CALLS") == NULL) return;
  FILE* file = fopen(getenv("COUNT_CALLS"), "w");
  if (file == NULL) return;
  fprintf(file, "%d\n", calls);
  fclose(file);
}
