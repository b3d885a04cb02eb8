// Preloaded into a test's process, it makes sendmmsg(2) fail with the errno in FAIL_SENDS for each message
// that asks for UDP_SEGMENT, as where the way out has no checksum offload.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>

static int segmented(struct msghdr* header) {
  for (struct cmsghdr* part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_SEGMENT) return 1;
  }
  return 0;
}

int sendmmsg(int fd, struct mmsghdr* messages, unsigned int count, int flags) {
  static int (*real)(int, struct mmsghdr*, unsigned int, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "sendmmsg");
  unsigned int good = 0;
  while (good < count && !segmented(&messages[good].msg_hdr)) good++;
  if (good > 0) return real(fd, messages, good, flags);
  errno = atoi(getenv("FAIL_SENDS"));
  return -1;
}
