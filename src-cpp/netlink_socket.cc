#include "netlink_socket.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>

namespace tuntap {

void ConfigureNetlink(int fd) {
  const int on = 1;
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    (void)setsockopt(fd, SOL_NETLINK, option, &on, sizeof(on));
  }
}

int SendNetlink(int fd, const uint8_t* bytes, size_t length) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = sendto(fd, bytes, length, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel));
  } while (sent < 0 && errno == EINTR);  // interrupted before the kernel saw the request
  return sent < 0 ? -errno : 0;
}

int ReceiveNetlink(int fd, int timeout_ms, std::vector<uint8_t>* datagram) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const ssize_t size = recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size >= 0) {
      datagram->resize(static_cast<size_t>(size));
      sockaddr_nl sender{};
      socklen_t sender_size = sizeof(sender);
      const ssize_t received = recvfrom(fd, datagram->data(), datagram->size(), MSG_DONTWAIT,
                                        reinterpret_cast<sockaddr*>(&sender), &sender_size);
      if (received >= 0) {
        if (sender.nl_pid != 0) continue;  // not the kernel: any process may send to a netlink socket
        datagram->resize(static_cast<size_t>(received));
        return 0;
      }
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -errno;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return -ETIMEDOUT;
    pollfd readable{fd, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left)) < 0 && errno != EINTR) return -errno;
  }
}

}  // namespace tuntap
