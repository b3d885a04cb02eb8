// A SOCKS5 server that is no bottleneck: a thread for each connection, which moves bytes by splice(2).
// Usage: socks-server ADDRESS PORT. It prints "ready". CONNECT to IPv4 addresses only, without
// authentication.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct direction {
  int from;
  int to;
};

static void* move(void* argument) {
  const struct direction* way = argument;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) == 0) {
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    for (;;) {
      ssize_t left = splice(way->from, NULL, ends[1], NULL, 1 << 20, SPLICE_F_MOVE);
      if (left <= 0) break;
      while (left > 0) {
        const ssize_t moved = splice(ends[0], NULL, way->to, NULL, (size_t)left, SPLICE_F_MOVE);
        if (moved <= 0) break;
        left -= moved;
      }
      if (left > 0) break;
    }
    close(ends[0]);
    close(ends[1]);
  }
  shutdown(way->to, SHUT_WR);
  return NULL;
}

static int receive(int fd, uint8_t* bytes, size_t size) {
  return recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size ? 0 : -1;
}

// The connection that the client asks for, or -1.
static int handshake(int client) {
  uint8_t bytes[262];
  if (receive(client, bytes, 2) < 0 || receive(client, bytes, bytes[1]) < 0) return -1;
  if (send(client, "\5\0", 2, MSG_NOSIGNAL) != 2 || receive(client, bytes, 10) < 0) return -1;
  if (bytes[1] != 1 || bytes[3] != 1) return -1;
  struct sockaddr_in to = {.sin_family = AF_INET};
  memcpy(&to.sin_addr, bytes + 4, 4);
  memcpy(&to.sin_port, bytes + 8, 2);
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int failed = connect(server, (struct sockaddr*)&to, sizeof(to)) < 0;
  const uint8_t reply[10] = {5, failed ? 5 : 0, 0, 1};
  const int on = 1;
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (send(client, reply, sizeof(reply), MSG_NOSIGNAL) == sizeof(reply) && !failed) return server;
  close(server);
  return -1;
}

static void* serve(void* argument) {
  const int client = (int)(intptr_t)argument;
  const int server = handshake(client);
  if (server >= 0) {
    struct direction ways[2] = {{client, server}, {server, client}};
    pthread_t back;
    if (pthread_create(&back, NULL, move, &ways[1]) == 0) {
      move(&ways[0]);
      pthread_join(back, NULL);
    }
    close(server);
  }
  close(client);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &at.sin_addr);
  const int on = 1;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener, (struct sockaddr*)&at, sizeof(at)) < 0 || listen(listener, 4096) < 0) return 1;
  puts("ready");
  fflush(stdout);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&detached, 65536);
  for (;;) {
    const int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pthread_t thread;
    if (client < 0) continue;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (pthread_create(&thread, &detached, serve, (void*)(intptr_t)client) != 0) close(client);
  }
}
