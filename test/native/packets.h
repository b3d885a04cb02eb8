#ifndef TUNTAP_TEST_PACKETS_H_
#define TUNTAP_TEST_PACKETS_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "../../src-cpp/offload/virtio_net_header.h"

// Packets and their checksums, built the slow and obvious way: what the offloads are compared with.

using Bytes = std::vector<uint8_t>;

// RFC 1071 section 4.1, word by word. Returns the sum in host order, not complemented.
inline uint32_t ReferenceSum(const uint8_t* bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i++) {
    sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

inline uint32_t AddSums(uint32_t a, uint32_t b) { return a + b > 0xffff ? a + b - 0xffff : a + b; }

struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint32_t operator()(uint32_t below) {  // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>((state * 0x2545f4914f6cdd1d) >> 32) % below;
  }
};

enum class Link { kIp, kEthernet, kVlan, kTwoVlans };

struct Packet {
  Link link = Link::kIp;
  bool ipv6 = false;
  bool udp = false;
  uint8_t host = 1;  // the last byte of the source: 192.0.2.x (RFC 5737), 2001:db8::x (RFC 3849)
  uint16_t vlan = 5;
  uint8_t mac = 1;
  uint8_t tos = 0;   // or the traffic class
  uint8_t ttl = 64;  // or the hop limit
  uint16_t identification = 0x1234;
  uint16_t fragment = 0x4000;
  uint32_t flow_label = 0x12345;
  Bytes ip_options;         // a multiple of 4
  Bytes extension_headers;  // complete headers; the last one's next header field is put right
  uint8_t first_extension = 60;
  Bytes final_destination;  // where a source route ends; empty: the header's destination
  uint16_t source_port = 1000;
  uint16_t destination_port = 2000;
  uint32_t sequence = 1;
  uint32_t acknowledgment = 77;
  uint8_t flags = 0x10;
  uint8_t reserved = 0;
  uint16_t window = 4096;
  uint16_t urgent = 0;
  Bytes tcp_options;  // a multiple of 4
  Bytes payload;

  size_t LinkLength() const {
    return link == Link::kIp ? 0 : link == Link::kEthernet ? 14 : link == Link::kVlan ? 18 : 22;
  }
  size_t TransportOffset() const {
    return LinkLength() + (ipv6 ? 40 + extension_headers.size() : 20 + ip_options.size());
  }
  size_t HeaderLength() const { return TransportOffset() + (udp ? 8 : 20 + tcp_options.size()); }
  size_t ChecksumOffset() const { return udp ? 6 : 16; }
};

inline void Put16(Bytes& bytes, size_t at, uint32_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

inline void Append16(Bytes& bytes, uint32_t value) {
  bytes.push_back(static_cast<uint8_t>(value >> 8));
  bytes.push_back(static_cast<uint8_t>(value));
}

inline void Append32(Bytes& bytes, uint32_t value) {
  Append16(bytes, value >> 16);
  Append16(bytes, value & 0xffff);
}

inline void Append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

inline Bytes Address(const Packet& packet, bool source) {
  if (!packet.ipv6) return {192, 0, 2, static_cast<uint8_t>(source ? packet.host : 200)};
  Bytes address = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200};
  if (source) address[15] = packet.host;
  return address;
}

inline uint32_t PseudoSum(const Packet& packet) {
  Bytes pseudo = Address(packet, true);
  Append(pseudo, packet.final_destination.empty() ? Address(packet, false) : packet.final_destination);
  Append32(pseudo,
           static_cast<uint32_t>(packet.HeaderLength() - packet.TransportOffset() + packet.payload.size()));
  Append32(pseudo, packet.udp ? 17 : 6);
  return ReferenceSum(pseudo.data(), pseudo.size());
}

inline Bytes BuildTransport(const Packet& packet) {
  Bytes bytes;
  Append16(bytes, packet.source_port);
  Append16(bytes, packet.destination_port);
  if (packet.udp) {
    Append16(bytes, static_cast<uint32_t>(8 + packet.payload.size()));
    Append16(bytes, 0);
  } else {
    Append32(bytes, packet.sequence);
    Append32(bytes, packet.acknowledgment);
    bytes.push_back(static_cast<uint8_t>((20 + packet.tcp_options.size()) / 4 * 16 | packet.reserved));
    bytes.push_back(packet.flags);
    Append16(bytes, packet.window);
    Append16(bytes, 0);
    Append16(bytes, packet.urgent);
    Append(bytes, packet.tcp_options);
  }
  Append(bytes, packet.payload);
  return bytes;
}

// The whole packet with valid checksums.
inline Bytes Build(const Packet& packet) {
  Bytes bytes;
  if (packet.link != Link::kIp) {
    bytes = {2, 0, 0, 0, 0, 200, 2, 0, 0, 0, 0, packet.mac};
    if (packet.link == Link::kTwoVlans) {
      Append16(bytes, 0x88a8);
      Append16(bytes, 9);
    }
    if (packet.link != Link::kEthernet) {
      Append16(bytes, 0x8100);
      Append16(bytes, packet.vlan);
    }
    Append16(bytes, packet.ipv6 ? 0x86dd : 0x0800);
  }
  const size_t ip = bytes.size();
  Bytes transport = BuildTransport(packet);
  const uint8_t protocol = packet.udp ? 17 : 6;
  if (packet.ipv6) {
    Append32(bytes, 0x60000000u | packet.tos << 20 | packet.flow_label);
    Append16(bytes, static_cast<uint32_t>(packet.extension_headers.size() + transport.size()));
    bytes.push_back(packet.extension_headers.empty() ? protocol : packet.first_extension);
    bytes.push_back(packet.ttl);
  } else {
    const size_t header_length = 20 + packet.ip_options.size();
    Append16(bytes, static_cast<uint32_t>((0x40 | header_length / 4) << 8 | packet.tos));
    Append16(bytes, static_cast<uint32_t>(header_length + transport.size()));
    Append16(bytes, packet.identification);
    Append16(bytes, packet.fragment);
    bytes.push_back(packet.ttl);
    bytes.push_back(protocol);
    Append16(bytes, 0);
  }
  Append(bytes, Address(packet, true));
  Append(bytes, Address(packet, false));
  Append(bytes, packet.ipv6 ? packet.extension_headers : packet.ip_options);
  if (!packet.ipv6) Put16(bytes, ip + 10, 0xffff - ReferenceSum(bytes.data() + ip, bytes.size() - ip));
  uint32_t checksum = 0xffff - AddSums(PseudoSum(packet), ReferenceSum(transport.data(), transport.size()));
  if (checksum == 0 && packet.udp) checksum = 0xffff;
  Put16(transport, packet.ChecksumOffset(), checksum);
  Append(bytes, transport);
  return bytes;
}

// The packet as the kernel hands it to a device that completes checksums.
inline Bytes BuildUnfinished(const Packet& packet) {
  Bytes bytes = Build(packet);
  Put16(bytes, packet.TransportOffset() + packet.ChecksumOffset(), PseudoSum(packet));
  return bytes;
}

inline tuntap::VirtioNetHeader SuperHeader(const Packet& packet, uint16_t gso_size) {
  using namespace tuntap;
  const uint8_t gso_type = packet.udp    ? VIRTIO_NET_HDR_GSO_UDP_L4
                           : packet.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
                                         : VIRTIO_NET_HDR_GSO_TCPV4;
  return {VIRTIO_NET_HDR_F_NEEDS_CSUM,
          gso_type,
          0xffff,  // wrong on purpose: nothing may depend on it
          gso_size,
          static_cast<uint16_t>(packet.TransportOffset()),
          static_cast<uint16_t>(packet.ChecksumOffset())};
}

inline tuntap::LinkLayer LayerOf(Link link) {
  return link == Link::kIp ? tuntap::LinkLayer::kIp : tuntap::LinkLayer::kEthernet;
}

inline Bytes RandomBytes(Random& random, size_t length) {
  Bytes bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random(256));
  return bytes;
}

inline std::string Hex(const Bytes& bytes, size_t most = 120) {
  std::string text;
  char two[3];
  for (size_t i = 0; i < bytes.size() && i < most; i++) {
    std::snprintf(two, sizeof(two), "%02x", bytes[i]);
    text += two;
  }
  return text + (bytes.size() > most ? "..." : "") + " (" + std::to_string(bytes.size()) + " bytes)";
}

#endif  // TUNTAP_TEST_PACKETS_H_
