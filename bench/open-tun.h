// Opens the TUN devices of the programs written in C.

#ifndef TUNTAP_BENCH_OPEN_TUN_H_
#define TUNTAP_BENCH_OPEN_TUN_H_

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static int open_tun(const char* namespace_path, const char* name, int vnet) {
  const int namespace_fd = open(namespace_path, O_RDONLY | O_CLOEXEC);
  if (namespace_fd < 0 || setns(namespace_fd, CLONE_NEWNET) != 0) fail(namespace_path);
  close(namespace_fd);
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof(request));
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
  if (ioctl(fd, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
  if (vnet) {
    const unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    // The bits of USO4 and USO6 (Linux 6.2), which older headers lack.
    if (ioctl(fd, TUNSETOFFLOAD, offloads | 0x20 | 0x40) != 0 && ioctl(fd, TUNSETOFFLOAD, offloads) != 0) {
      fail("TUNSETOFFLOAD");
    }
  }
  return fd;
}

#endif  // TUNTAP_BENCH_OPEN_TUN_H_
