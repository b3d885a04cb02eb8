#pragma once

#include <functional>

#include "batch/batch_view.h"

namespace tuntap {

// Passes on what was read into a batch, before JavaScript hears of it. Leaves the batch's header as it is.
// Returns whether it wrote packets that the kernel may answer at once.
using BatchForwarder = std::function<bool(const BatchView&)>;

}  // namespace tuntap
