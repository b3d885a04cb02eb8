// A program that uses TUN devices without this package, as tests need it beside one:
//
//   other-program NAME [tap] [multi] [vnet=BYTES] [offload=MASK]                  prints what it reads
//   other-program NAME [tap] [multi] [vnet=BYTES] [offload=MASK] -- COMMAND ...   leaves the device to a
//   command, as fd 3 other-program status                                                        prints the
//   state of fd 3
//
// Without vnet it has no virtio_net_hdr, and without offload it makes no TUNSETOFFLOAD. It prints one line a
// packet: the header's flags and gso_type, and the packet in hexadecimal. For each byte on stdin it prints
// the header's size.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static int header_size(int fd) {
  int size = 0;
  if (ioctl(fd, TUNGETVNETHDRSZ, &size) < 0) fail("TUNGETVNETHDRSZ");
  return size;
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "status") == 0) {
    struct ifreq request = {0};
    if (ioctl(3, TUNGETIFF, &request) < 0) fail("TUNGETIFF");
    printf("%s %x %d %x %x\n", request.ifr_name, request.ifr_flags & 0xffff, header_size(3),
           fcntl(3, F_GETFL), fcntl(3, F_GETFD));
    return 0;
  }
  int tap = 0, multi = 0, vnet = 0, offload = -1, command = 0;
  for (int i = 2; i < argc && command == 0; i++) {
    if (strcmp(argv[i], "tap") == 0) tap = 1;
    if (strcmp(argv[i], "multi") == 0) multi = 1;
    if (strncmp(argv[i], "vnet=", 5) == 0) vnet = atoi(argv[i] + 5);
    if (strncmp(argv[i], "offload=", 8) == 0) offload = atoi(argv[i] + 8);
    if (strcmp(argv[i], "--") == 0) command = i + 1;
  }
  int fd = open("/dev/net/tun", O_RDWR);
  if (fd < 0) fail("open");
  struct ifreq request = {0};
  strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
  request.ifr_flags = (short)(IFF_NO_PI | (tap ? IFF_TAP : IFF_TUN) | (multi ? IFF_MULTI_QUEUE : 0) |
                              (vnet ? IFF_VNET_HDR : 0));
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  if (vnet && ioctl(fd, TUNSETVNETHDRSZ, &vnet) < 0) fail("TUNSETVNETHDRSZ");
  if (offload >= 0 && ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) < 0) fail("TUNSETOFFLOAD");
  if (command) {
    if (dup2(fd, 3) < 0) fail("dup2");
    if (fd != 3) close(fd);
    execvp(argv[command], argv + command);
    fail("execvp");
  }
  printf("ready\n");
  static unsigned char packet[70000];
  for (;;) {
    struct pollfd ready[2] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) fail("poll");
    if (ready[1].revents) {
      if (read(0, packet, 1) <= 0) return 0;
      printf("header %d\n", header_size(fd));
    }
    if (!ready[0].revents) continue;
    ssize_t length = read(fd, packet, sizeof(packet));
    if (length < 0) fail("read");
    printf("packet %d %d ", vnet ? packet[0] : 0, vnet ? packet[1] : 0);
    for (ssize_t i = vnet; i < length; i++) printf("%02x", packet[i]);
    printf("\n");
  }
}
