// Runs Flannel's own proxy of its UDP mode, as flanneld does: opens the device, the socket and the control
// socket, tells the routes, and calls run_proxy() of Flannel's pkg/backend/udp/proxy_amd64.c, which it is
// linked with.
//
//   flannel-proxy DEVICE ADDRESS PORT MTU TUN-ADDRESS { NETWORK LENGTH HOST } ...

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sys/socket.h>

#include "open-tun.h"
// From the folder that is given by -I.
#include "proxy_amd64.h"

static in_addr_t address(const char* text) {
  struct in_addr parsed;
  if (inet_pton(AF_INET, text, &parsed) != 1) fail(text);
  return parsed.s_addr;
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const int tun = open_tun("/proc/self/ns/net", argv[1], 0);
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in local = {0};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = address(argv[2]);
  local.sin_port = htons((uint16_t)atoi(argv[3]));
  if (udp < 0 || bind(udp, (struct sockaddr*)&local, sizeof(local)) != 0) fail("bind");
  int control[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control) != 0) fail("socketpair");
  for (char** route = argv + 6; route + 2 < argv + argc; route += 3) {
    struct command set = {0};
    set.cmd = CMD_SET_ROUTE;
    set.dest_net = address(route[0]);
    set.dest_net_len = atoi(route[1]);
    set.next_hop_ip = address(route[2]);
    set.next_hop_port = (short)atoi(argv[3]);
    if (write(control[1], &set, sizeof(set)) != (ssize_t)sizeof(set)) fail("write");
  }
  puts("ready");
  fflush(stdout);
  run_proxy(tun, udp, control[0], address(argv[5]), (size_t)atoi(argv[4]), 0);
  return 0;
}
