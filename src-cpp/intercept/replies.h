#pragma once

#include "batch/appender.h"
#include "intercept/rewrite.h"

namespace tuntap {

// Packets that answer others. `prefix`: the bytes of the virtio_net_hdr that stands before each packet, which
// is written as zeros: nothing is left to the kernel. A packet that finds no room is lost.

// At most 1,000 of a kind of reply leave in a second.
class ReplyBudget {
 public:
  // Returns whether one more may leave. The time may wrap around.
  [[nodiscard]] bool Take(uint32_t now_ms) {
    if (now_ms - begun_ms_ >= 1000) {
      begun_ms_ = now_ms;
      left_ = 1000;
    }
    if (left_ == 0) return false;
    left_--;
    return true;
  }

 private:
  uint32_t left_ = 0;
  uint32_t begun_ms_ = 0;
};

// A TCP segment without data.
struct BareSegment {
  bool ipv4;
  PacketEnd source;
  PacketEnd destination;
  uint32_t sequence;
  uint32_t acknowledgment;  // 0 unless the flags have ACK
  uint8_t flags;
};
void AppendSegment(Appender* out, size_t prefix, const BareSegment& segment);

// The RST that answers a segment for which there is no connection (RFC 9293 section 3.10.7.1).
void AppendReset(Appender* out, size_t prefix, const IpPacket& offender);

// Why a destination can't be reached.
enum class Unreachable : uint8_t { kPort, kHost, kProhibited };

// The ICMP error that answers a packet to one host; its source is the packet's destination.
void AppendUnreachable(Appender* out, size_t prefix, const IpPacket& offender, Unreachable why);

}  // namespace tuntap
