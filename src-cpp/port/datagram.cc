#include "datagram.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

namespace tuntap {
namespace {

constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

uint16_t Family(const uint8_t* address) {
  uint16_t family = 0;
  memcpy(&family, address, sizeof(family));
  return family;
}

void MapAddress(const uint8_t* v4, uint8_t* v6) {
  memcpy(v6, kMappedPrefix, sizeof(kMappedPrefix));
  memcpy(v6 + sizeof(kMappedPrefix), v4, 4);
}

class ControlWriter {
 public:
  explicit ControlWriter(uint8_t* control) : control_(control) {}

  template <typename T>
  void Put(int level, int type, const T& value) {
    cmsghdr header{};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(sizeof(T));
    memcpy(control_ + length_, &header, sizeof(header));
    memcpy(control_ + length_ + CMSG_LEN(0), &value, sizeof(T));
    length_ += CMSG_SPACE(sizeof(T));
  }

  size_t length() const { return length_; }

 private:
  uint8_t* control_;
  size_t length_ = 0;
};

template <typename T>
bool Take(const cmsghdr* control, T* value) {
  if (control->cmsg_len < CMSG_LEN(sizeof(T))) return false;
  memcpy(value, CMSG_DATA(control), sizeof(T));
  return true;
}

}  // namespace

socklen_t ToSocketAddress(int socket_family, const uint8_t* from, sockaddr_storage* to) {
  if (socket_family != AF_INET6 || Family(from) != AF_INET) {
    memcpy(to, from, sizeof(DatagramSlot::remote));
    return socket_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  }
  sockaddr_in v4;
  memcpy(&v4, from, sizeof(v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  MapAddress(reinterpret_cast<const uint8_t*>(&v4.sin_addr), v6.sin6_addr.s6_addr);
  memcpy(to, &v6, sizeof(v6));
  return sizeof(v6);
}

void FromSocketAddress(const sockaddr_storage& from, uint8_t* to) {
  memset(to, 0, sizeof(DatagramSlot::remote));
  if (from.ss_family == AF_INET) {
    memcpy(to, &from, sizeof(sockaddr_in));
  } else if (from.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    memcpy(&v6, &from, sizeof(v6));
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      memcpy(to, &v6, sizeof(v6));
      return;
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = v6.sin6_port;
    memcpy(&v4.sin_addr, v6.sin6_addr.s6_addr + sizeof(kMappedPrefix), 4);
    memcpy(to, &v4, sizeof(v4));
  }
}

void PrepareSend(int socket_family, const DatagramSlot& slot, uint16_t segment_size,
                 sockaddr_storage* address, uint8_t* control, msghdr* message) {
  const uint16_t family = Family(slot.remote);
  // Without a remote, the connected peer: its family is then the local address's, or the socket's.
  const bool ipv4 =
      family == AF_INET || (family == 0 && (socket_family == AF_INET || slot.local_family == AF_INET));
  const socklen_t length = ToSocketAddress(socket_family, slot.remote, address);
  message->msg_name = family != 0 ? address : nullptr;
  message->msg_namelen = family != 0 ? length : 0;

  ControlWriter out(control);
  if (segment_size != 0) out.Put(SOL_UDP, UDP_SEGMENT, segment_size);
  if (slot.flags & kHasTos) {
    const int tos = slot.tos;
    if (ipv4) {
      out.Put(SOL_IP, IP_TOS, tos);
    } else {
      out.Put(SOL_IPV6, IPV6_TCLASS, tos);
    }
  }
  if (slot.local_family != 0 || slot.interface != 0) {
    if (socket_family == AF_INET) {
      in_pktinfo info{};
      info.ipi_ifindex = static_cast<int>(slot.interface);
      if (slot.local_family != 0) memcpy(&info.ipi_spec_dst, slot.local, 4);
      out.Put(SOL_IP, IP_PKTINFO, info);
    } else {
      in6_pktinfo info{};
      info.ipi6_ifindex = slot.interface;
      if (slot.local_family == AF_INET6) memcpy(&info.ipi6_addr, slot.local, 16);
      // To an IPv4 peer the kernel takes a mapped address alone (ip_cmsg_send), be it that of 0.0.0.0.
      const bool mapped = slot.local_family == AF_INET || (ipv4 && slot.local_family == 0);
      if (mapped) MapAddress(slot.local, info.ipi6_addr.s6_addr);
      out.Put(SOL_IPV6, IPV6_PKTINFO, info);
    }
  }
  message->msg_control = out.length() > 0 ? control : nullptr;
  message->msg_controllen = out.length();
}

void ParseReceived(const msghdr& message, ReceivedInfo* info, uint32_t* drops) {
  DatagramSlot& slot = info->slot;
  slot = {};
  info->segment_size = 0;
  if (message.msg_name != nullptr && message.msg_namelen > 0) {
    sockaddr_storage from{};
    memcpy(&from, message.msg_name, message.msg_namelen);
    FromSocketAddress(from, slot.remote);
  }
  if (message.msg_flags & MSG_TRUNC) slot.flags |= kTruncated;
  auto* header = const_cast<msghdr*>(&message);
  for (cmsghdr* control = CMSG_FIRSTHDR(header); control != nullptr; control = CMSG_NXTHDR(header, control)) {
    const int level = control->cmsg_level;
    const int type = control->cmsg_type;
    if (level == SOL_UDP && type == UDP_GRO) {
      int size = 0;
      if (Take(control, &size) && size > 0) info->segment_size = static_cast<size_t>(size);
    } else if (level == SOL_IP && type == IP_TOS) {
      if (Take(control, &slot.tos)) slot.flags |= kHasTos;
    } else if (level == SOL_IPV6 && type == IPV6_TCLASS) {
      int tclass = 0;
      if (!Take(control, &tclass)) continue;
      slot.tos = static_cast<uint8_t>(tclass);
      slot.flags |= kHasTos;
    } else if (level == SOL_IP && type == IP_PKTINFO) {
      in_pktinfo local;
      if (!Take(control, &local)) continue;
      slot.interface = static_cast<uint32_t>(local.ipi_ifindex);
      slot.local_family = AF_INET;
      memcpy(slot.local, &local.ipi_spec_dst, 4);  // which for a broadcast is an address of this host still
    } else if (level == SOL_IPV6 && type == IPV6_PKTINFO) {
      in6_pktinfo local;
      if (!Take(control, &local)) continue;
      slot.interface = local.ipi6_ifindex;
      if (IN6_IS_ADDR_V4MAPPED(&local.ipi6_addr)) {
        slot.local_family = AF_INET;
        memcpy(slot.local, local.ipi6_addr.s6_addr + sizeof(kMappedPrefix), 4);
      } else if (!IN6_IS_ADDR_MULTICAST(&local.ipi6_addr)) {
        slot.local_family = AF_INET6;
        memcpy(slot.local, &local.ipi6_addr, 16);
      }
    } else if (level == SOL_SOCKET && type == SO_RXQ_OVFL) {
      (void)Take(control, drops);
    }
  }
}

bool IsIcmpError(int error) {
  switch (-error) {
    case EACCES:
    case ECONNREFUSED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EMSGSIZE:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
      return true;
    default:
      return false;
  }
}

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
  ssize_t result;
  do {
    result = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  *record = {};
  FromSocketAddress(remote, record->remote);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    const bool known = (part->cmsg_level == SOL_IP && part->cmsg_type == IP_RECVERR) ||
                       (part->cmsg_level == SOL_IPV6 && part->cmsg_type == IPV6_RECVERR);
    sock_extended_err error;
    if (!known || !Take(part, &error)) continue;
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

}  // namespace tuntap
