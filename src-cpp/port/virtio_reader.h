#pragma once

#include <memory>

#include "batch_reader.h"
#include "offload/segmentation.h"

namespace tuntap {

// Reads super-packets from a device with IFF_VNET_HDR, and splits them into ordinary packets. What one batch
// has no room for goes into the next. A packet whose header lies is dropped and counted.
class VirtioReader final : public BatchReader {
 public:
  // `header_size`: kMaxVirtioHeaderSize at most.
  VirtioReader(LinkLayer link, size_t header_size);

  Outcome Read(int fd, const BatchView& batch, Margins margins) override;
  bool Pending() const override { return pending_length_ != 0 || !segmenter_.Done(); }
  Outcome ReadPending(const BatchView& batch, Margins margins) override;

 private:
  bool Emit(Appender* out);

  const LinkLayer link_;
  const size_t header_size_;
  Segmenter segmenter_;
  // What was read: a packet that stands for itself (pending_length_), or the segmenter's.
  std::unique_ptr<uint8_t[]> read_buffer_;
  size_t pending_length_ = 0;
};

}  // namespace tuntap
