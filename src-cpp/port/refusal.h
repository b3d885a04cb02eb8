#pragma once

#include <chrono>

namespace tuntap {

// Remembers that the kernel refused something, for as long as a further attempt would cost more than it can
// gain.
class Refusal {
 public:
  void Note() { until_ = Clock::now() + std::chrono::seconds(1); }
  bool holds() const { return until_ != Clock::time_point{} && Clock::now() < until_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point until_{};
};

}  // namespace tuntap
