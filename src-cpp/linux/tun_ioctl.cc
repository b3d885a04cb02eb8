#include "tun_ioctl.h"

#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "uninterrupted.h"

// linux/if_tun.h has it from Linux 5.2 on.
#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif
#ifndef TUNSETCARRIER
#define TUNSETCARRIER _IOW('T', 226, int)
#endif

namespace tuntap {
namespace {

template <typename Argument>
int Ioctl(int fd, unsigned long request, Argument argument) {
  return Uninterrupted([&] { return ioctl(fd, request, argument); });
}

int LinkIoctl(int socket, unsigned long request, const std::string& name, ifreq* argument) {
  if (name.size() >= IFNAMSIZ) return -ENAMETOOLONG;
  memcpy(argument->ifr_name, name.data(), name.size());
  return Ioctl(socket, request, argument);
}

void TakeInterface(const ifreq& request, TunInterface* interface) {
  interface->name.assign(request.ifr_name, strnlen(request.ifr_name, IFNAMSIZ));
  interface->flags = static_cast<uint16_t>(request.ifr_flags);
}

}  // namespace

int SetInterface(int fd, TunInterface* interface) {
  ifreq request{};
  request.ifr_flags = static_cast<short>(interface->flags);
  const int result = LinkIoctl(fd, TUNSETIFF, interface->name, &request);
  if (result == 0) TakeInterface(request, interface);
  return result;
}

int GetInterface(int fd, TunInterface* interface) {
  ifreq request{};
  const int result = Ioctl(fd, TUNGETIFF, &request);
  if (result == 0) TakeInterface(request, interface);
  return result;
}

int SetPersist(int fd, bool persist) { return Ioctl(fd, TUNSETPERSIST, persist ? 1UL : 0UL); }
int SetOwner(int fd, uint32_t uid) { return Ioctl(fd, TUNSETOWNER, static_cast<unsigned long>(uid)); }
int SetGroup(int fd, uint32_t gid) { return Ioctl(fd, TUNSETGROUP, static_cast<unsigned long>(gid)); }
int SetSendBuffer(int fd, int bytes) { return Ioctl(fd, TUNSETSNDBUF, &bytes); }

int SetCarrier(int fd, bool on) {
  int carrier = on ? 1 : 0;
  return Ioctl(fd, TUNSETCARRIER, &carrier);
}

int SetOffload(int fd, uint32_t features) {
  return Ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(features));
}

int SetVirtioHeaderSize(int fd, int bytes) { return Ioctl(fd, TUNSETVNETHDRSZ, &bytes); }

int GetVirtioHeaderSize(int fd) {
  int bytes = 0;
  const int result = Ioctl(fd, TUNGETVNETHDRSZ, &bytes);
  return result < 0 ? result : bytes;
}

int AttachFilter(int fd, const void* instructions, size_t count) {
  if (count == 0 || count > BPF_MAXINSNS) return -EINVAL;
  std::vector<sock_filter> program(count);
  memcpy(program.data(), instructions, count * sizeof(sock_filter));
  sock_fprog request{};
  request.len = static_cast<unsigned short>(count);
  request.filter = program.data();
  return Ioctl(fd, TUNATTACHFILTER, &request);
}

int DetachFilter(int fd) { return Ioctl(fd, TUNDETACHFILTER, 0UL); }

int SetTxFilter(int fd, const uint8_t* addresses, size_t count, bool all_multicast) {
  if (count > UINT16_MAX) return -EINVAL;
  tun_filter header{};
  header.flags = all_multicast ? TUN_FLT_ALLMULTI : 0;
  header.count = static_cast<uint16_t>(count);
  std::vector<uint8_t> request(sizeof(header) + count * 6);
  memcpy(request.data(), &header, sizeof(header));
  if (count > 0) memcpy(request.data() + sizeof(header), addresses, count * 6);
  // The kernel returns how many addresses it filters exactly.
  const int result = Ioctl(fd, TUNSETTXFILTER, request.data());
  return result < 0 ? result : 0;
}

int DeviceNamespace(int fd) { return Ioctl(fd, TUNGETDEVNETNS, 0UL); }

int LinkMtu(int socket, const std::string& name) {
  ifreq request{};
  const int result = LinkIoctl(socket, SIOCGIFMTU, name, &request);
  return result < 0 ? result : request.ifr_mtu;
}

int LinkFlags(int socket, const std::string& name) {
  ifreq request{};
  const int result = LinkIoctl(socket, SIOCGIFFLAGS, name, &request);
  return result < 0 ? result : static_cast<uint16_t>(request.ifr_flags);
}

int Ethtool(int socket, const std::string& name, void* command) {
  ifreq request{};
  request.ifr_data = static_cast<char*>(command);
  return LinkIoctl(socket, SIOCETHTOOL, name, &request);
}

int LinkCarrier(int socket, const std::string& name) {
  ethtool_value value{ETHTOOL_GLINK, 0};
  const int result = Ethtool(socket, name, &value);
  return result < 0 ? result : static_cast<int>(value.data);
}

}  // namespace tuntap
