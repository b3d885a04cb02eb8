// Sends or receives datagrams in batches, as udp-batch.ts does by this package.
//
// udp-batch send ADDRESS PORT SIZE DATAGRAMS MICROSECONDS: 46 datagrams, each from a buffer of its own, are
// one
//   UDP_SEGMENT send (udp(7)), four of them one sendmmsg(2), eight of these a burst; a pause of MICROSECONDS.
// udp-batch receive ADDRESS PORT DATAGRAMS MICROSECONDS: recvmmsg(2) with UDP_GRO, poll(2) when there is
// nothing,
//   and when the queue was emptied a pause of MICROSECONDS, in which a program would do other work.
// Both print the CPU time that they took, in seconds, and how many datagrams that was for, leaving out the
// first half. The receiver gives up when nothing came for half a second.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RUN 46
#define BATCH 184
#define MESSAGES 16
#define BURST 8

static double cpu(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static int send_all(int fd, size_t size, long wanted, long interval_us) {
  static char payload[BATCH][1536];
  static struct iovec pieces[BATCH];
  static char control[BATCH / RUN][CMSG_SPACE(sizeof(uint16_t))];
  struct mmsghdr messages[BATCH / RUN];
  memset(messages, 0, sizeof(messages));
  // Memory that nothing was written to is all one page of zeros, which no cache ever misses.
  memset(payload, 0x5a, sizeof(payload));
  for (int i = 0; i < BATCH; i++) pieces[i] = (struct iovec){payload[i], size};
  for (int i = 0; i < BATCH / RUN; i++) {
    struct msghdr* header = &messages[i].msg_hdr;
    header->msg_iov = &pieces[i * RUN];
    header->msg_iovlen = RUN;
    header->msg_control = control[i];
    header->msg_controllen = sizeof(control[i]);
    struct cmsghdr* part = CMSG_FIRSTHDR(header);
    part->cmsg_level = SOL_UDP;
    part->cmsg_type = UDP_SEGMENT;
    part->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const uint16_t segment = (uint16_t)size;
    memcpy(CMSG_DATA(part), &segment, sizeof(segment));
  }
  long sent = 0;
  long before = 0;
  double began = 0;
  while (sent < wanted) {
    if (before == 0 && sent > wanted / 2) {
      before = sent;
      began = cpu();
    }
    for (int i = 0; i < BURST; i++) {
      int done = 0;
      while (done < BATCH / RUN) {
        const int count = sendmmsg(fd, messages + done, (unsigned)(BATCH / RUN - done), 0);
        if (count > 0) done += count;
      }
      sent += BATCH;
    }
    usleep((useconds_t)interval_us);
  }
  printf("%f %ld %ld\n", cpu() - began, sent - before, sent);
  return 0;
}

static int receive_all(int fd, long wanted, long pause_us) {
  static char payload[MESSAGES][65536];
  static char control[MESSAGES][64];
  struct iovec pieces[MESSAGES];
  struct mmsghdr messages[MESSAGES];
  const int on = 1;
  if (setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) != 0) return 1;
  long received = 0;
  long before = 0;
  double began = 0;
  puts("ready");
  fflush(stdout);
  struct pollfd watch = {fd, POLLIN, 0};
  while (received < wanted && poll(&watch, 1, received > 0 ? 500 : 10000) > 0) {
    if (before == 0 && received > wanted / 2) {
      before = received;
      began = cpu();
    }
    memset(messages, 0, sizeof(messages));
    for (int i = 0; i < MESSAGES; i++) {
      pieces[i] = (struct iovec){payload[i], sizeof(payload[i])};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = control[i];
      messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
    }
    const int count = recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
      int segment = 0;
      for (struct cmsghdr* part = CMSG_FIRSTHDR(&messages[i].msg_hdr); part != NULL;
           part = CMSG_NXTHDR(&messages[i].msg_hdr, part)) {
        if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_GRO)
          memcpy(&segment, CMSG_DATA(part), sizeof(segment));
      }
      const int length = (int)messages[i].msg_len;
      received += segment > 0 ? (length + segment - 1) / segment : 1;
    }
    if (count < MESSAGES && pause_us > 0) usleep((useconds_t)pause_us);
  }
  printf("%f %ld %ld\n", cpu() - began, received - before, received);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 5) return 1;
  struct sockaddr_in address;
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_port = htons((unsigned short)atoi(argv[3]));
  inet_pton(AF_INET, argv[2], &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  const int buffer = 16 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
  if (strcmp(argv[1], "send") == 0) {
    if (argc != 7 || connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) return 1;
    return send_all(fd, (size_t)atoi(argv[4]), atol(argv[5]), atol(argv[6]));
  }
  if (bind(fd, (struct sockaddr*)&address, sizeof(address)) != 0) return 1;
  return receive_all(fd, atol(argv[4]), argc > 5 ? atol(argv[5]) : 0);
}
