#pragma once

#include "checksum.h"
#include "packet_headers.h"

namespace tuntap {

// Checksums of IP headers, in memory order as all of checksum.h.

// Faster than ChecksumPartial() for so few words.
template <size_t kWords>
[[nodiscard]] uint64_t SumOfWords(const uint8_t* words) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kWords; i++) sum += LoadAsIs<uint32_t>(words + 4 * i);
  return sum;
}

// The sum of a TCP or UDP packet's pseudo-header, folded but not complemented.
[[nodiscard]] inline uint16_t PseudoHeaderSum(const uint8_t* ip, bool ipv6, uint8_t protocol,
                                              size_t transport_length) {
  const uint64_t addresses =
      ipv6 ? SumOfWords<8>(ip + kIpv6SourceOffset) : SumOfWords<2>(ip + kIpv4SourceOffset);
  return ChecksumFold(addresses + htons(protocol) + htons(static_cast<uint16_t>(transport_length)));
}

// `length` includes options.
inline void SetIpv4Checksum(uint8_t* ip, size_t length) {
  StoreAsIs16(ip + kIpv4ChecksumOffset, 0);
  StoreAsIs16(ip + kIpv4ChecksumOffset, static_cast<uint16_t>(~ChecksumPartial(ip, length)));
}

}  // namespace tuntap
