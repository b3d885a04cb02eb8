#pragma once

#include <cstddef>
#include <cstdint>

#include "virtio_net_header.h"

// Which packets may become parts of one super-packet. The rules are those of the kernel's GRO (linux:
// tcp_gro_receive(), udp_gro_receive_segment(), inet_gro_flush()): splitting gives back what was merged.
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
  kSealsFlow,  // must stay as it is, and no packet of its flow may pass it
  kSealsAll,   // must stay as it is; its flow is not known, so no packet may pass it
};

// Returns what a packet is. Fills all of `segment` for a candidate, and the flow's fields for a packet that
// seals its flow.
[[nodiscard]] Mergeability Classify(const uint8_t* packet, size_t length, LinkLayer link,
                                    CoalescedProtocols protocols, Segment* segment);

// Flow: link header, addresses, protocol and ports.
[[nodiscard]] uint32_t FlowHash(const Segment& segment);
[[nodiscard]] bool SameFlow(const Segment& a, const Segment& b);

// Whether two candidates of one flow agree in every header field that a super-packet has once.
[[nodiscard]] bool SameHeaders(const Segment& a, const Segment& b);

// Whether the checksums of the IPv4 header and of the transport are valid: merging would give a packet with a
// bad one a good one. Remembers the answer in `segment`.
[[nodiscard]] bool ChecksumsValid(Segment& segment);

}  // namespace tuntap
