// Sends or receives datagrams in batches, as udp-end.ts does by this package.
//
// udp-batch send ADDRESS PORT SIZE DATAGRAMS MICROSECONDS BATCH: for each line on stdin sends DATAGRAMS. 46
//   of them, each from a buffer of its own, are one UDP_SEGMENT send (udp(7)), a BATCH is one sendmmsg(2),
//   and after each 1,472 comes a pause of MICROSECONDS.
// udp-batch receive ADDRESS PORT DATAGRAMS MICROSECONDS: recvmmsg(2) with UDP_GRO, poll(2) when there is
//   nothing, and when the queue was emptied a pause of MICROSECONDS, in which a program would do other work.
//   A turn is DATAGRAMS, or fewer where then nothing came for half a second. Ends when it is ended.
// For each turn both print the CPU time that it took, in seconds, and how many datagrams that was for.

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
#define MESSAGES 16
#define BURST 1472

static double cpu(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void report(double began, long count) {
  printf("%f %ld\n", cpu() - began, count);
  fflush(stdout);
}

static int send_all(int fd, size_t size, long wanted, long interval_us, int batch) {
  static char payload[BURST][1536];
  static struct iovec pieces[BURST];
  static char control[BURST / RUN][CMSG_SPACE(sizeof(uint16_t))];
  struct mmsghdr messages[BURST / RUN];
  if (batch < RUN || BURST % batch != 0 || batch % RUN != 0) return 1;
  memset(messages, 0, sizeof(messages));
  // Memory that nothing was written to is all one page of zeros, which no cache ever misses.
  memset(payload, 0x5a, sizeof(payload));
  for (int i = 0; i < batch; i++) pieces[i] = (struct iovec){payload[i], size};
  for (int i = 0; i < batch / RUN; i++) {
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
  char line[16];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    const double began = cpu();
    long sent = 0;
    while (sent < wanted) {
      for (int i = 0; i < BURST; i += batch) {
        int done = 0;
        while (done < batch / RUN) {
          const int count = sendmmsg(fd, messages + done, (unsigned)(batch / RUN - done), 0);
          if (count > 0) done += count;
        }
      }
      sent += BURST;
      usleep((useconds_t)interval_us);
    }
    report(began, sent);
  }
  return 0;
}

// What one recvmmsg(2) brings.
static long take(int fd, long pause_us) {
  static char payload[MESSAGES][65536];
  static char control[MESSAGES][64];
  struct iovec pieces[MESSAGES];
  struct mmsghdr messages[MESSAGES];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < MESSAGES; i++) {
    pieces[i] = (struct iovec){payload[i], sizeof(payload[i])};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_control = control[i];
    messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
  }
  const int count = recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL);
  long received = 0;
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
  return received;
}

static int receive_all(int fd, long wanted, long pause_us) {
  const int on = 1;
  if (setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) != 0) return 1;
  puts("ready");
  fflush(stdout);
  long received = 0;
  double began = 0;
  for (struct pollfd watch = {fd, POLLIN, 0};;) {
    if (poll(&watch, 1, received > 0 ? 500 : -1) > 0) {
      if (received == 0) began = cpu();
      received += take(fd, pause_us);
      if (received < wanted) continue;
    }
    report(began, received);
    received = 0;
  }
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
    if (argc != 8 || connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) return 1;
    return send_all(fd, (size_t)atoi(argv[4]), atol(argv[5]), atol(argv[6]), atoi(argv[7]));
  }
  if (bind(fd, (struct sockaddr*)&address, sizeof(address)) != 0) return 1;
  return receive_all(fd, atol(argv[4]), argc > 5 ? atol(argv[5]) : 0);
}
