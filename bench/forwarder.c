// The baseline: forwards packets between two TUN devices with poll(2), read(2) and write(2), in both
// directions, and nothing else. Usage: forwarder NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]
//
// The devices are made in the namespaces given, and the program runs until it is killed. With `vnet` the
// kernel's super-packets pass through, each behind its virtio_net_hdr. Like this package, it reads a device
// until it has nothing more, up to 256 packets, before it looks at the other.

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>

#include "open-tun.h"

int main(int argc, char** argv) {
  static char buffer[65536 + 64];
  if (argc < 5) {
    fprintf(stderr, "usage: forwarder NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]\n");
    return 1;
  }
  const int vnet = argc > 5 && strcmp(argv[5], "vnet") == 0;
  struct pollfd devices[2] = {{open_tun(argv[1], argv[2], vnet), POLLIN, 0},
                              {open_tun(argv[3], argv[4], vnet), POLLIN, 0}};
  for (int i = 0; i < 2; i++) {
    if (fcntl(devices[i].fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
  }
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
