#include "socket_errors.h"

#include <netinet/in.h>
#include <time.h>  // linux/errqueue.h needs it and leaves it out

// clang-format off
#include <linux/errqueue.h>
// clang-format on

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "control_messages.h"
#include "linux/uninterrupted.h"

namespace tuntap {
namespace {

// Whether an ICMP message can have been the cause (net/ipv4/icmp.c, net/ipv6/icmp.c).
bool IsIcmpError(int error) {
  constexpr int kErrors[] = {EACCES,      ECONNREFUSED, EHOSTDOWN,   EHOSTUNREACH, EMSGSIZE,
                             ENETUNREACH, ENONET,       ENOPROTOOPT, EOPNOTSUPP,   EPROTO};
  return std::find(std::begin(kErrors), std::end(kErrors), -error) != std::end(kErrors);
}

// Takes one error off the error queue. Returns 0, or -errno: -EAGAIN if there is none.
int ReceiveError(int fd, SocketErrorRecord* record) {
  sockaddr_storage remote{};
  uint8_t payload[1];  // of the datagram that failed, of no interest
  alignas(cmsghdr) uint8_t control[512];
  iovec piece{payload, sizeof(payload)};
  msghdr message{};
  message.msg_name = &remote;
  message.msg_namelen = sizeof(remote);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t result = Uninterrupted([&] { return recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT); });
  if (result < 0) return static_cast<int>(result);
  *record = {};
  FromSocketAddress(remote, record->remote);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    const bool known = (part->cmsg_level == SOL_IP && part->cmsg_type == IP_RECVERR) ||
                       (part->cmsg_level == SOL_IPV6 && part->cmsg_type == IPV6_RECVERR);
    sock_extended_err error;
    if (!known || !TakeControl(part, &error)) continue;
    record->error = -static_cast<int32_t>(error.ee_errno);
    record->info = error.ee_info;
    record->origin = error.ee_origin;
    record->type = error.ee_type;
    record->code = error.ee_code;
    // SO_EE_OFFENDER: a sockaddr behind the structure.
    const size_t length = part->cmsg_len - CMSG_LEN(sizeof(error));
    sockaddr_storage offender{};
    memcpy(&offender, CMSG_DATA(part) + sizeof(error), length < sizeof(offender) ? length : sizeof(offender));
    FromSocketAddress(offender, record->offender);
  }
  return 0;
}

}  // namespace

bool SocketErrors::Drain(int fd) {
  bool any = false;
  SocketErrorRecord record{};
  while (ReceiveError(fd, &record) == 0) {
    // The kernel tells of what it refused to send right then, too; no later call fails for that.
    if (record.origin != SO_EE_ORIGIN_LOCAL) any = true;
    Record(record);
  }
  // The socket's pending error; most often the error queue had more to say of it.
  int pending = 0;
  socklen_t length = sizeof(pending);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length) != 0 || pending == 0) return any;
  RecordAlone(-pending);
  return true;
}

bool SocketErrors::TakeEarlier(int fd, int error) {
  if (Drain(fd)) return true;
  if (!IsIcmpError(error)) return false;
  RecordAlone(error);  // the kernel had no memory for more
  return true;
}

void SocketErrors::RecordAlone(int error) {
  SocketErrorRecord record{};
  record.error = error;
  Record(record);
}

void SocketErrors::Record(const SocketErrorRecord& record) {
  const uint32_t count = std::min<uint32_t>(state_->error_count, UdpState::kErrors);
  SocketErrorRecord* const last = &state_->errors[count];
  const bool again =
      record.origin == SO_EE_ORIGIN_LOCAL && count > 0 && memcmp(last - 1, &record, sizeof(record)) == 0;
  if (again) return;
  if (count == UdpState::kErrors) {
    state_->errors_lost++;
  } else {
    *last = record;
    state_->error_count = count + 1;
  }
}

bool EarlierErrors::TryAgain(int error, bool own) {
  if (error == -EINTR) return true;
  if (suspect_ == 0 && !own && IsIcmpError(error)) {
    suspect_ = error;
    return true;
  }
  if (suspect_ != 0 && error != suspect_) earlier_ = suspect_;
  // The kernel tells the path MTU with its own EMSGSIZE.
  report_ = report_ || earlier_ != 0 || error == -EMSGSIZE;
  suspect_ = 0;
  return false;
}

void EarlierErrors::Report(int fd) {
  if (report_) (void)errors_->TakeEarlier(fd, earlier_);
}

}  // namespace tuntap
