#ifndef TUNTAP_COALESCING_RULES_H_
#define TUNTAP_COALESCING_RULES_H_

#include <cstddef>
#include <cstdint>

#include "virtio_net_header.h"

// Which packets may become parts of one super-packet: the rules of the kernel's own GRO (linux:
// tcp_gro_receive(), udp_gro_receive_segment(), inet_gro_flush()), so that splitting gives back what was
// merged.
namespace tuntap {

struct CoalescedProtocols {
  bool tcp;
  bool udp;
};

// A TCP segment or UDP datagram with its headers.
struct Segment {
  enum class Checksums : uint8_t { kUnknown, kValid, kInvalid };

  const uint8_t* packet;
  uint32_t sequence;  // TCP
  uint16_t payload_length;
  uint16_t identification;  // IPv4
  uint8_t link_length;
  uint8_t ip_length;  // of the IP header: 20 or 40
  uint8_t transport_length;
  uint8_t protocol;
  uint8_t flags;  // TCP
  bool dont_fragment;
  Checksums checksums;

  bool ipv6() const { return ip_length != 20; }
  bool tcp() const { return protocol == 6; }
  uint32_t header_length() const { return uint32_t{link_length} + ip_length + transport_length; }
  const uint8_t* ip() const { return packet + link_length; }
  const uint8_t* transport() const { return packet + link_length + ip_length; }
};

enum class Mergeability : uint8_t {
  kUnrelated,  // of no flow that is coalesced: anything may pass it
  kCandidate,  // may be merged
  kSealsFlow,  // has to stay as it is, and its flow's packets may not pass it
  kSealsAll,   // likewise, but its flow can't be told
};

// Says what a packet is and fills `segment`: all of it for a candidate, the flow's fields for one that seals
// its flow.
[[nodiscard]] Mergeability Classify(const uint8_t* packet, size_t length, LinkLayer link,
                                    CoalescedProtocols protocols, Segment* segment);

// Flow: link header, addresses, protocol and ports.
[[nodiscard]] uint32_t FlowHash(const Segment& segment);
[[nodiscard]] bool SameFlow(const Segment& a, const Segment& b);

// Two candidates of one flow agree in every header field that a super-packet has only once.
[[nodiscard]] bool SameHeaders(const Segment& a, const Segment& b);

// The IPv4 header's and the transport's checksum are valid. A packet with a bad one must not get a good one
// by being merged. Remembers the answer.
[[nodiscard]] bool ChecksumsValid(Segment& segment);

// The folded sum of the pseudo-header, in memory order.
[[nodiscard]] uint16_t PseudoHeaderSum(const uint8_t* ip, bool ipv6, uint8_t protocol,
                                       size_t transport_length);

}  // namespace tuntap

#endif  // TUNTAP_COALESCING_RULES_H_
