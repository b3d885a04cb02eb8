// Sends IPv4 packets of one size (64 bytes: 36 of UDP payload) as fast as sendmmsg(2) takes them, or at a
// rate. Usage: udp-flood ADDRESS PORT SECONDS PACKETS_PER_SECOND [PACKET_SIZE [DESTINATIONS]] With several
// destinations packets go to ADDRESS and those 256 apart from it, in turn. Prints how many it sent. It stops
// by itself.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST 32
#define MAX_DESTINATIONS 64

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  if (argc < 5) return 1;
  const double seconds = atof(argv[3]);
  const double rate = atof(argv[4]);
  static char payload[65507];
  const int size = argc > 5 ? atoi(argv[5]) - 28 : 36;
  const int destinations = argc > 6 ? atoi(argv[6]) : 1;
  if (size < 0 || size > (int)sizeof(payload) || destinations < 1 || destinations > MAX_DESTINATIONS)
    return 1;
  static struct sockaddr_in to[MAX_DESTINATIONS];
  for (int i = 0; i < destinations; i++) {
    to[i].sin_family = AF_INET;
    to[i].sin_port = htons((unsigned short)atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &to[i].sin_addr);
    to[i].sin_addr.s_addr = htonl(ntohl(to[i].sin_addr.s_addr) + 256 * (unsigned)i);
  }
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return 1;
  if (destinations == 1 && connect(fd, (struct sockaddr*)&to[0], sizeof(to[0])) != 0) return 1;
  struct iovec piece = {payload, (size_t)size};
  struct mmsghdr messages[BURST];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < BURST; i++) {
    messages[i].msg_hdr.msg_iov = &piece;
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_namelen = destinations > 1 ? sizeof(to[0]) : 0;
  }
  // Large packets in small bursts: a burst of 64 KiB packets alone would fill the queue of the device.
  const int burst = size > 2000 ? 4 : BURST;
  long sent = 0;
  const double start = now();
  for (double t = start; t - start < seconds; t = now()) {
    if ((double)sent > (t - start) * rate) {
      usleep(200);
      continue;
    }
    for (int i = 0; destinations > 1 && i < burst; i++) {
      messages[i].msg_hdr.msg_name = &to[(sent + i) % destinations];
    }
    const int count = sendmmsg(fd, messages, (unsigned)burst, 0);
    if (count > 0) sent += count;
  }
  printf("%ld\n", sent);
  return 0;
}
