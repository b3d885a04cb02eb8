#pragma once

#include <cstddef>
#include <cstdint>

#include "virtio_net_header.h"

namespace tuntap {

// Splits a super-packet that was read from a device with IFF_VNET_HDR into the ordinary packets that a
// network card would have sent (linux: net/core/gso.c, tcp_offload.c, udp_offload.c), and completes the
// checksum of a packet that has none. The caller may stop after any packet and go on later.
//
// A Segmenter trusts neither the header nor the packet: it refuses what does not fit together, and reads and
// writes nothing outside of `packet` and the lengths that it announced.
class Segmenter {
 public:
  // Returns how many ordinary packets `packet` stands for, or -EINVAL if header and packet contradict each
  // other: then drop it.
  //
  // 1: `packet` itself is that packet now, with its checksum completed in place.
  // More: fetch them with Next(), and keep `packet` as it is until Done().
  [[nodiscard]] int Begin(const VirtioNetHeader& header, uint8_t* packet, size_t length, LinkLayer link);

  // Whether no packet is left to fetch.
  [[nodiscard]] bool Done() const { return remaining_ == 0; }

  // The length of the next packet; 0 when done.
  [[nodiscard]] size_t NextLength() const {
    return remaining_ == 0 ? 0 : header_length_ + (remaining_ < segment_size_ ? remaining_ : segment_size_);
  }

  // Writes the next packet: NextLength() bytes, which must not overlap the super-packet. Don't call it when
  // done.
  void Next(uint8_t* out);

 private:
  bool ReadHeaders(const VirtioNetHeader& header, uint8_t protocol);
  bool ReadIpv4(uint8_t protocol);
  bool ReadIpv6(uint8_t protocol);
  void PrepareSums(bool needs_checksum);
  void StampHeader(uint8_t* out, size_t payload_length, uint16_t payload_sum) const;

  const uint8_t* packet_ = nullptr;
  size_t length_ = 0;
  size_t remaining_ = 0;     // bytes of payload that are left
  size_t segment_size_ = 0;  // gso_size
  size_t link_length_ = 0;
  size_t transport_offset_ = 0;  // where the TCP or UDP header begins
  size_t header_length_ = 0;     // all headers: where the payload begins
  uint64_t network_sum_ = 0;     // of the IPv4 header without the fields that differ
  uint64_t transport_sum_ = 0;   // of pseudo-header and transport header, likewise
  uint32_t sequence_ = 0;        // of the next packet
  uint8_t destination_[16];      // the final one, which the pseudo-header has (RFC 8200 section 8.1)
  uint16_t identification_ = 0;  // of the next packet
  uint8_t flags_ = 0;            // TCP's
  bool ipv6_ = false;
  bool tcp_ = false;
  bool extension_headers_ = false;
  bool accurate_ecn_ = false;  // CWR is a bit of a counter, not a signal (RFC 9768)
  bool first_ = false;         // the next packet is the first one
};

}  // namespace tuntap
