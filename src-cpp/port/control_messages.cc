#include "control_messages.h"

#include <netinet/in.h>

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

}  // namespace

socklen_t ToSocketAddress(int socket_family, const uint8_t* from, sockaddr_storage* to) {
  if (socket_family != AF_INET6 || Family(from) != AF_INET) {
    memcpy(to, from, sizeof(DatagramEntry::remote));
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
  memset(to, 0, sizeof(DatagramEntry::remote));
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

int FamilyOf(const DatagramEntry& entry, int peer_family) {
  const uint16_t family = Family(entry.remote);
  return family != 0 ? family : peer_family;
}

void PrepareSend(int socket_family, int peer_family, const DatagramEntry& entry, uint16_t segment_size,
                 sockaddr_storage* address, uint8_t* control, msghdr* message) {
  const bool connected = Family(entry.remote) == 0;
  const bool ipv4 = FamilyOf(entry, peer_family) == AF_INET;
  const socklen_t length = ToSocketAddress(socket_family, entry.remote, address);
  message->msg_name = connected ? nullptr : address;
  message->msg_namelen = connected ? 0 : length;

  ControlWriter out(control);
  if (segment_size != 0) out.Put(SOL_UDP, UDP_SEGMENT, segment_size);
  if (entry.flags & kHasTos) {
    const int tos = entry.tos;
    out.Put(ipv4 ? SOL_IP : SOL_IPV6, ipv4 ? IP_TOS : IPV6_TCLASS, tos);
  }
  if (entry.local_family != 0 || entry.interface != 0) {
    if (socket_family == AF_INET) {
      in_pktinfo info{};
      info.ipi_ifindex = static_cast<int>(entry.interface);
      if (entry.local_family != 0) memcpy(&info.ipi_spec_dst, entry.local, 4);
      out.Put(SOL_IP, IP_PKTINFO, info);
    } else {
      in6_pktinfo info{};
      info.ipi6_ifindex = entry.interface;
      if (entry.local_family == AF_INET6) memcpy(&info.ipi6_addr, entry.local, 16);
      // To an IPv4 peer the kernel takes a mapped address alone (ip_cmsg_send), be it that of 0.0.0.0.
      const bool mapped = entry.local_family == AF_INET || (ipv4 && entry.local_family == 0);
      if (mapped) MapAddress(entry.local, info.ipi6_addr.s6_addr);
      out.Put(SOL_IPV6, IPV6_PKTINFO, info);
    }
  }
  message->msg_control = out.length() > 0 ? control : nullptr;
  message->msg_controllen = out.length();
}

void ParseReceived(const msghdr& message, ReceivedInfo* info, uint32_t* drops) {
  DatagramEntry& entry = info->entry;
  entry = {};
  info->segment_size = 0;
  if (message.msg_name != nullptr && message.msg_namelen > 0) {
    sockaddr_storage from{};
    memcpy(&from, message.msg_name, message.msg_namelen);
    FromSocketAddress(from, entry.remote);
  }
  if (message.msg_flags & MSG_TRUNC) entry.flags |= kTruncated;
  auto* header = const_cast<msghdr*>(&message);
  for (cmsghdr* control = CMSG_FIRSTHDR(header); control != nullptr; control = CMSG_NXTHDR(header, control)) {
    const int level = control->cmsg_level;
    const int type = control->cmsg_type;
    if (level == SOL_UDP && type == UDP_GRO) {
      int size = 0;
      if (TakeControl(control, &size) && size > 0) info->segment_size = static_cast<size_t>(size);
    } else if (level == SOL_IP && type == IP_TOS) {
      if (TakeControl(control, &entry.tos)) entry.flags |= kHasTos;
    } else if (level == SOL_IPV6 && type == IPV6_TCLASS) {
      int tclass = 0;
      if (!TakeControl(control, &tclass)) continue;
      entry.tos = static_cast<uint8_t>(tclass);
      entry.flags |= kHasTos;
    } else if (level == SOL_IP && type == IP_PKTINFO) {
      in_pktinfo local;
      if (!TakeControl(control, &local)) continue;
      entry.interface = static_cast<uint32_t>(local.ipi_ifindex);
      entry.local_family = AF_INET;
      memcpy(entry.local, &local.ipi_spec_dst, 4);  // which for a broadcast is an address of this host still
    } else if (level == SOL_IPV6 && type == IPV6_PKTINFO) {
      in6_pktinfo local;
      if (!TakeControl(control, &local)) continue;
      entry.interface = local.ipi6_ifindex;
      // Of IPv4 this has the destination, be it a broadcast address; IP_PKTINFO has this host's address, too.
      if (IN6_IS_ADDR_V4MAPPED(&local.ipi6_addr) || IN6_IS_ADDR_MULTICAST(&local.ipi6_addr)) continue;
      entry.local_family = AF_INET6;
      memcpy(entry.local, &local.ipi6_addr, 16);
    } else if (level == SOL_SOCKET && type == SO_RXQ_OVFL) {
      (void)TakeControl(control, drops);
    }
  }
}

}  // namespace tuntap
