// Preloaded into a test's process, it is a kernel that refuses what is written to a device with a
// virtio_net_hdr, or lies in that header when such a device is read:
//   FAIL_WRITES=ERRNO  writev(2) fails, for super-packets only unless FAIL_ALL is set
//   FAIL_COUNT=N       only the first N times
//   FAIL_PLAN=A,B,…    writev(2) fails with A, then with B, …, whatever is written; 0: it does not fail
//   LIE_IN_READS       csum_start of each super-packet lies behind its end

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <sys/uio.h>

static struct virtio_net_hdr* header_of(const struct iovec* parts, int count) {
  const int has_header = count > 1 && parts[0].iov_len == sizeof(struct virtio_net_hdr);
  return has_header ? parts[0].iov_base : NULL;
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  static ssize_t (*real)(int, const struct iovec*, int);
  static int failed;
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "writev");
  static const char* plan;
  if (plan == NULL) plan = getenv("FAIL_PLAN") == NULL ? "" : getenv("FAIL_PLAN");
  if (*plan != 0 && header_of(parts, count) != NULL) {
    char* end;
    const int planned = (int)strtol(plan, &end, 10);
    plan = *end == ',' ? end + 1 : end;
    if (planned == 0) return real(fd, parts, count);
    errno = planned;
    return -1;
  }
  const char* error = getenv("FAIL_WRITES");
  const char* limit = getenv("FAIL_COUNT");
  const struct virtio_net_hdr* header = header_of(parts, count);
  if (error == NULL || header == NULL || failed >= (limit == NULL ? INT_MAX : atoi(limit)) ||
      (header->gso_type == VIRTIO_NET_HDR_GSO_NONE && getenv("FAIL_ALL") == NULL)) {
    return real(fd, parts, count);
  }
  failed++;
  errno = atoi(error);
  return -1;
}

ssize_t readv(int fd, const struct iovec* parts, int count) {
  static ssize_t (*real)(int, const struct iovec*, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "readv");
  const ssize_t length = real(fd, parts, count);
  struct virtio_net_hdr* header = header_of(parts, count);
  if (length > 0 && header != NULL && header->gso_type != VIRTIO_NET_HDR_GSO_NONE &&
      getenv("LIE_IN_READS") != NULL) {
    header->csum_start = 0xffff;
  }
  return length;
}
