#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tuntap {

// The ioctls of /dev/net/tun (linux/if_tun.h, drivers/net/tun.c) and of macvtap's /dev/tapN, which has a
// part of them. Each returns 0 or -errno.

struct TunInterface {
  std::string name;
  uint16_t flags = 0;  // IFF_TUN, IFF_TAP, IFF_NO_PI, …
};

// TUNSETIFF: attaches the fd to `interface`, making it if there is none. On success `interface` holds the
// name that the kernel gave.
[[nodiscard]] int SetInterface(int fd, TunInterface* interface);
// TUNGETIFF: EBADFD while nothing is attached.
[[nodiscard]] int GetInterface(int fd, TunInterface* interface);

[[nodiscard]] int SetPersist(int fd, bool persist);
[[nodiscard]] int SetOwner(int fd, uint32_t uid);
[[nodiscard]] int SetGroup(int fd, uint32_t gid);
// Bytes of packets under way into the kernel; more make a write fail with EAGAIN.
[[nodiscard]] int SetSendBuffer(int fd, int bytes);
[[nodiscard]] int SetCarrier(int fd, bool on);

// What the kernel may give the reader of a device with IFF_VNET_HDR: bits of TUN_F_*; 0: ordinary packets
// with valid checksums. The device keeps it.
[[nodiscard]] int SetOffload(int fd, uint32_t features);
// The size of the virtio_net_hdr before each packet. The device keeps it.
[[nodiscard]] int SetVirtioHeaderSize(int fd, int bytes);
[[nodiscard]] int GetVirtioHeaderSize(int fd);

// A classic BPF program, `count` sock_filter instructions of 8 bytes, that says which packets are readable.
[[nodiscard]] int AttachFilter(int fd, const void* instructions, size_t count);
[[nodiscard]] int DetachFilter(int fd);
// TUNSETTXFILTER: only frames to one of the `count` addresses of 6 bytes are readable; none: all are.
[[nodiscard]] int SetTxFilter(int fd, const uint8_t* addresses, size_t count, bool all_multicast);

// TUNGETDEVNETNS (Linux 5.2): a new fd of the namespace that the device is in now.
[[nodiscard]] int DeviceNamespace(int fd);

// Properties of the link `name` in the namespace of a socket, of any kind: SIOCGIFMTU; SIOCGIFFLAGS, IFF_* of
// 16 bits; ETHTOOL_GLINK, 1 if the link is up and has a carrier. The first two take no lock in the kernel.
[[nodiscard]] int LinkMtu(int socket, const std::string& name);
[[nodiscard]] int LinkFlags(int socket, const std::string& name);
[[nodiscard]] int LinkCarrier(int socket, const std::string& name);

// SIOCETHTOOL: `command` is a structure of linux/ethtool.h, with room for the answer.
[[nodiscard]] int Ethtool(int socket, const std::string& name, void* command);

}  // namespace tuntap
