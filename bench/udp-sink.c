// Receives datagrams until SIGTERM, then prints how many came. Usage: udp-sink ADDRESS PORT

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST 64

static long received;

static void finish(int signal_number) {
  (void)signal_number;
  char text[32];
  const int length = snprintf(text, sizeof(text), "%ld\n", received);
  _exit(write(1, text, (size_t)length) == length ? 0 : 1);
}

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  struct sockaddr_in at;
  memset(&at, 0, sizeof(at));
  at.sin_family = AF_INET;
  at.sin_port = htons((unsigned short)atoi(argv[2]));
  inet_pton(AF_INET, argv[1], &at.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  const int buffer = 8 << 20;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0) return 1;
  if (bind(fd, (struct sockaddr*)&at, sizeof(at)) != 0) return 1;
  static char payload[BURST][2048];
  struct iovec pieces[BURST];
  struct mmsghdr messages[BURST];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < BURST; i++) {
    pieces[i].iov_base = payload[i];
    pieces[i].iov_len = sizeof(payload[i]);
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  signal(SIGTERM, finish);
  puts("ready");
  fflush(stdout);
  for (;;) {
    const int count = recvmmsg(fd, messages, BURST, MSG_WAITFORONE, NULL);
    if (count > 0) received += count;
  }
}
