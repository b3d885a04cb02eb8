#pragma once

#include "batch/batch_view.h"

namespace tuntap {

// Passes on what was read into a batch, before JavaScript hears of it.
class BatchForwarder {
 public:
  virtual ~BatchForwarder() = default;

  // Leaves the batch's header as it is. Returns whether it wrote packets that the kernel may answer at once.
  virtual bool Forward(const BatchView& batch) = 0;
};

}  // namespace tuntap
