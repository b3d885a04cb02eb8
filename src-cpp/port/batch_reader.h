#pragma once

#include "batch/appender.h"

namespace tuntap {

// Reads packets from one fd into batches; it may keep state between calls. No call blocks.
class BatchReader {
 public:
  virtual ~BatchReader() = default;

  // Appends packets to the batch until the fd has none (error -EAGAIN), the batch is full (error 0), or it
  // fails.
  [[nodiscard]] virtual Outcome Read(int fd, const BatchView& batch, Margins margins) = 0;

  // Whether packets wait that were read from the fd, but that no batch had room for. Read() appends them
  // first, and ReadPending() appends them alone.
  [[nodiscard]] virtual bool Pending() const { return false; }
  [[nodiscard]] virtual Outcome ReadPending(const BatchView&, Margins) { return {}; }

  // The fd polled as failed; a read follows.
  virtual void OnFailed(int) {}
};

}  // namespace tuntap
