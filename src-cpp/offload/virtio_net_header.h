#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// struct virtio_net_hdr, which stands before each packet of a device with IFF_VNET_HDR, in the machine's own
// byte order unless TUNSETVNETLE or TUNSETVNETBE says otherwise. C++ can't include linux/virtio_net.h, where
// a field is named `class`.
struct VirtioNetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;      // a hint: how much of the packet is headers
  uint16_t gso_size;     // payload of each ordinary packet but the last
  uint16_t csum_start;   // from where on the checksum is computed,
  uint16_t csum_offset;  //   and where it goes, counted from there
};
static_assert(sizeof(VirtioNetHeader) == 10, "what a device has unless TUNSETVNETHDRSZ changed it");

// A device may have longer headers: what follows the structure is then passed over when reading, and 0 when
// writing.
constexpr size_t kMaxVirtioHeaderSize = 64;
struct PaddedVirtioNetHeader {
  VirtioNetHeader header;
  uint8_t padding[kMaxVirtioHeaderSize - sizeof(VirtioNetHeader)];
};

constexpr uint8_t VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
constexpr uint8_t VIRTIO_NET_HDR_F_RSC_INFO = 4;  // gives csum_start and csum_offset another meaning
constexpr uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;
constexpr uint8_t VIRTIO_NET_HDR_GSO_TCPV4 = 1;
constexpr uint8_t VIRTIO_NET_HDR_GSO_TCPV6 = 4;
constexpr uint8_t VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
constexpr uint8_t VIRTIO_NET_HDR_GSO_ACCECN = 0x10;
constexpr uint8_t VIRTIO_NET_HDR_GSO_ECN = 0x80;

// What a device's packets begin with: those of TUN are IP packets, those of TAP Ethernet frames.
enum class LinkLayer : uint8_t { kIp, kEthernet };

}  // namespace tuntap
