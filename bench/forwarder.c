// The baseline: forwards packets between two TUN devices with poll(2), read(2) and write(2), in both
// directions, and nothing else. Usage: forwarder NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]
//
// The devices are made in the namespaces given, and the program runs until it is killed. With `vnet` the
// kernel's super-packets pass through, each behind its virtio_net_hdr. Like this package, it reads a device
// until it has nothing more, up to 256 packets, before it looks at the other.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
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
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
  return fd;
}

int main(int argc, char** argv) {
  static char buffer[65536 + 64];
  if (argc < 5) {
    fprintf(stderr, "usage: forwarder NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]\n");
    return 1;
  }
  const int vnet = argc > 5 && strcmp(argv[5], "vnet") == 0;
  struct pollfd devices[2] = {{open_tun(argv[1], argv[2], vnet), POLLIN, 0},
                              {open_tun(argv[3], argv[4], vnet), POLLIN, 0}};
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (poll(devices, 2, -1) < 0 && errno != EINTR) fail("poll");
    for (int from = 0; from < 2; from++) {
      if (devices[from].revents & POLLERR) return 0;
      if (!(devices[from].revents & POLLIN)) continue;
      for (int count = 0; count < 256; count++) {
        const ssize_t length = read(devices[from].fd, buffer, sizeof(buffer));
        if (length < 0) break;
        // A packet that the kernel refuses is lost, as on any link.
        if (write(devices[1 - from].fd, buffer, (size_t)length) < 0) continue;
      }
    }
  }
}
