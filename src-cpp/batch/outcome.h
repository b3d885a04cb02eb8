#pragma once

#include <cstddef>
#include <cstdint>

namespace tuntap {

// What reading, writing, sealing or opening did with a batch.
struct Outcome {
  uint32_t packets = 0;    // that were read, taken by the kernel, sealed or opened
  uint32_t bytes = 0;      // of these packets
  int32_t error = 0;       // what ended the operation: 0 or -errno
  uint32_t malformed = 0;  // packets that were dropped, since their virtio_net_hdr contradicts them
  uint32_t writer = 0;     // the VirtioWriter whose write -EAGAIN ended, which can resume it

  void Count(size_t length) {
    packets++;
    bytes += static_cast<uint32_t>(length);
  }
};

}  // namespace tuntap
