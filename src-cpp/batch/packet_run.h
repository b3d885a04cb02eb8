#pragma once

#include <cstdint>

namespace tuntap {

// Stands for no prefix, no session and no packet.
constexpr uint32_t kNoValue = UINT32_MAX;

// Consecutive packets of a batch that belong together. JavaScript reads these as rows of 32-bit words
// (lib/io/packet-runs.ts).
struct PacketRun {
  uint32_t start;  // entries `start` to `end` - 1
  uint32_t end;
  uint32_t value;  // of a prefix or a session, or kNoValue
  uint32_t ecn;    // sending: of all the packets. Receiving: the session's index
  // Receiving only.
  uint32_t packets;  // authentic and new ones
  uint32_t data;     // those of them that are not empty
  uint32_t bytes;    // of their datagrams, header and tag included
  uint32_t last;     // the last of them, or kNoValue
};

}  // namespace tuntap
