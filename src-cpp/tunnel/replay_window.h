#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tuntap {

// Tells new counters from those that were seen: a ring of bits for the last counters, which advances by whole
// words without shifting (RFC 6479). Only the counters of authentic packets may go in.
class ReplayWindow {
 public:
  // How many counters behind the highest are still told apart.
  static constexpr uint64_t kSize = 8128;

  // Whether a counter is new; if so, it is not new from now on.
  bool Check(uint64_t counter) {
    const uint64_t word = counter / kWordBits;
    if (counter >= next_) {
      // Words that come in now hold bits of counters a ring's length ago.
      const uint64_t last = next_ == 0 ? 0 : (next_ - 1) / kWordBits;
      const uint64_t steps = std::min<uint64_t>(word - last, kWords);
      for (uint64_t i = 0; i < steps; i++) ring_[(word - i) % kWords] = 0;
      next_ = counter + 1;
    } else if (next_ - 1 - counter >= kSize) {
      return false;
    }
    const uint64_t bit = uint64_t{1} << (counter % kWordBits);
    uint64_t& bits = ring_[word % kWords];
    if ((bits & bit) != 0) return false;
    bits |= bit;
    return true;
  }

 private:
  static constexpr unsigned kWordBits = 64;
  static constexpr size_t kWords = 128;

  uint64_t ring_[kWords] = {};
  uint64_t next_ = 0;  // one more than the highest counter
};

}  // namespace tuntap
