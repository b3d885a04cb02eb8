#pragma once

#include <cstdint>

namespace tuntap {

inline uint32_t LoadLittleEndian32(const uint8_t* from) {
  return uint32_t{from[0]} | uint32_t{from[1]} << 8 | uint32_t{from[2]} << 16 | uint32_t{from[3]} << 24;
}

inline uint64_t LoadLittleEndian64(const uint8_t* from) {
  return uint64_t{LoadLittleEndian32(from)} | uint64_t{LoadLittleEndian32(from + 4)} << 32;
}

inline void StoreLittleEndian32(uint32_t value, uint8_t* to) {
  for (int i = 0; i < 4; i++) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

inline void StoreLittleEndian64(uint64_t value, uint8_t* to) {
  for (int i = 0; i < 8; i++) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace tuntap
