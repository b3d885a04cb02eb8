#include "netlink_socket.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "uninterrupted.h"

namespace tuntap {
namespace {

// A reader that offers this much gets dumps in parts of this size (netlink_recvmsg() in af_netlink.c).
constexpr size_t kDumpPart = 32768;
constexpr size_t kEnough = 1 << 20;

// Appends one datagram from the kernel. Returns 0 or -errno, -EAGAIN where there is none.
int ReceiveOne(int fd, Datagrams* datagrams) {
  for (;;) {
    const ssize_t size = recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    std::vector<uint8_t>& bytes = datagrams->bytes;
    const size_t start = bytes.size();
    bytes.resize(start + std::max(static_cast<size_t>(size), kDumpPart));
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof(sender);
    const ssize_t received = recvfrom(fd, bytes.data() + start, bytes.size() - start, MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&sender), &sender_size);
    const int error = received < 0 ? errno : 0;
    // Any process may send to a netlink socket: what is not from the kernel is passed over.
    const bool taken = received >= 0 && sender.nl_pid == 0;
    bytes.resize(start + (taken ? static_cast<size_t>(received) : 0));
    if (taken) {
      datagrams->ends.push_back(bytes.size());
      return 0;
    }
    if (error != 0 && error != EINTR) return -error;
  }
}

}  // namespace

void ConfigureNetlink(int fd) {
  const int on = 1;
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    (void)setsockopt(fd, SOL_NETLINK, option, &on, sizeof(on));
  }
}

int JoinNetlinkGroups(int fd, const std::vector<uint32_t>& groups, int receive_buffer) {
  if (receive_buffer > 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer)) != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)) != 0) {
    return -errno;
  }
  // An unbound socket has port 0, which the kernel takes for itself and leaves out.
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0) return -errno;
  for (const uint32_t group : groups) {
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) return -errno;
  }
  return 0;
}

int SendNetlink(int fd, const uint8_t* bytes, size_t length) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  // A call that is interrupted has not reached the kernel's request handler.
  const ssize_t sent = Uninterrupted(
      [&] { return sendto(fd, bytes, length, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)); });
  return static_cast<int>(std::min<ssize_t>(sent, 0));
}

int ReceiveNetlink(int fd, int timeout_ms, Datagrams* datagrams) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const int result = ReceiveOne(fd, datagrams);
    if (result == 0 && datagrams->bytes.size() < kEnough) continue;
    if (result == 0 || (result == -EAGAIN && !datagrams->ends.empty())) return 0;
    if (result != -EAGAIN) return result;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return -ETIMEDOUT;
    pollfd readable{fd, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left)) < 0 && errno != EINTR) return -errno;
  }
}

}  // namespace tuntap
