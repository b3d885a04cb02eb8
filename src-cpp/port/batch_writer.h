#pragma once

#include <cerrno>
#include <chrono>

#include "batch/batch_view.h"

namespace tuntap {

// The errors of a device that is gone. A TUN device that was deleted gives EBADFD, macvtap ENOLINK.
constexpr int kFatalErrors[] = {-EBADFD, -EBADF, -ENOLINK, -ENODEV};

// Whether an error is not its packet's alone: the kernel's queue is full, or the device is gone.
[[nodiscard]] inline bool StopsWriting(int64_t result) {
  if (result == -EAGAIN) return true;
  for (const int fatal : kFatalErrors) {
    if (result == fatal) return true;
  }
  return false;
}

// Writes the packets of batches to one fd; it may keep state between calls. No call blocks.
class BatchWriter {
 public:
  virtual ~BatchWriter() = default;

  // Writes packets `start` to the last. A packet that the kernel refuses for itself gets its -errno as
  // status, and the others are written. An error that stops writing is the outcome's, and the status of all
  // packets that were not written.
  [[nodiscard]] virtual Outcome Write(int fd, const BatchView& batch, size_t start) = 0;
};

// Remembers that the kernel refused something, for as long as another attempt would cost more than it gains.
class Refusal {
 public:
  void Note() { until_ = Clock::now() + std::chrono::seconds(1); }
  bool holds() const { return until_ != Clock::time_point{} && Clock::now() < until_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point until_{};
};

}  // namespace tuntap
