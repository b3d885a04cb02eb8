#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// The Internet checksum (RFC 1071). Sums are kept in memory order, as section 2(B) allows: 16-bit words are
// loaded and stored as they lie. Only computed numbers, such as a length, go through htons(3) before they are
// added. The sums of several parts can be added in 64 bits and folded once if every part but the last has an
// even length.

// Returns the one's complement sum of `bytes`, folded but not complemented. An odd last byte counts as if a
// zero followed. Only zeros have the sum 0.
[[nodiscard]] uint16_t ChecksumPartial(const uint8_t* bytes, size_t length);

// Copies `length` bytes and returns their sum, in one pass over the memory. The ranges must not overlap.
[[nodiscard]] uint16_t ChecksumCopy(uint8_t* to, const uint8_t* from, size_t length);

// Adds the 16-bit words of a sum, with end-around carry.
[[nodiscard]] inline uint16_t ChecksumFold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);  // below 2^17 + 2^16
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The versions behind the two functions above, for tests and measurements.
namespace checksum_versions {
uint16_t PartialGeneric(const uint8_t* bytes, size_t length);
uint16_t CopyGeneric(uint8_t* to, const uint8_t* from, size_t length);
#if defined(__x86_64__)
bool HasAvx2();
uint16_t PartialAvx2(const uint8_t* bytes, size_t length);
uint16_t CopyAvx2(uint8_t* to, const uint8_t* from, size_t length);
#endif
}  // namespace checksum_versions

}  // namespace tuntap
