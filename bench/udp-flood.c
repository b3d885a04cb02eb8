// Sends 64-byte IPv4 packets (36 bytes of UDP payload) as fast as sendmmsg(2) takes them, or at a rate.
// Usage: udp-flood ADDRESS PORT SECONDS PACKETS_PER_SECOND
// Prints how many it sent. It stops by itself.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST 32

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  if (argc != 5) return 1;
  const double seconds = atof(argv[3]);
  const double rate = atof(argv[4]);
  struct sockaddr_in to;
  memset(&to, 0, sizeof(to));
  to.sin_family = AF_INET;
  to.sin_port = htons((unsigned short)atoi(argv[2]));
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&to, sizeof(to)) != 0) return 1;
  static char payload[36];
  struct iovec piece = {payload, sizeof(payload)};
  struct mmsghdr messages[BURST];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < BURST; i++) {
    messages[i].msg_hdr.msg_iov = &piece;
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  long sent = 0;
  const double start = now();
  for (double t = start; t - start < seconds; t = now()) {
    if ((double)sent > (t - start) * rate) {
      usleep(200);
      continue;
    }
    const int count = sendmmsg(fd, messages, BURST, 0);
    if (count > 0) sent += count;
  }
  printf("%ld\n", sent);
  return 0;
}
