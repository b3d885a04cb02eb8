#pragma once

#include <functional>

#include "batch/batch_view.h"

namespace tuntap {

// What became of a batch that was passed on.
struct Forwarded {
  bool told = true;       // JavaScript is to hear of it
  bool answered = false;  // what was written may be answered by the kernel at once
};

// Passes on what was read into a batch, before JavaScript hears of it. Leaves the outcome in the batch's
// header as it is.
using BatchForwarder = std::function<Forwarded(const BatchView&)>;

}  // namespace tuntap
