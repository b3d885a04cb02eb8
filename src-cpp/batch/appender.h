#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "batch_view.h"

namespace tuntap {

// Bytes kept free around each packet that is read.
struct Margins {
  uint32_t headroom = 0;
  uint32_t tailroom = 0;

  size_t sum() const { return size_t{headroom} + tailroom; }
};

inline size_t AlignSlot(size_t position) { return (position + kSlotAlignment - 1) & ~(kSlotAlignment - 1); }

// Appends packets to a batch, behind those that it holds. Finish() makes them visible.
class Appender {
 public:
  Appender(const BatchView& batch, Margins margins)
      : batch_(batch), margins_(margins), count_(batch.count()), end_(batch.header()->end) {}

  const BatchView& batch() const { return batch_; }
  const Margins& margins() const { return margins_; }
  size_t count() const { return count_; }
  size_t end() const { return end_; }  // where the next slot begins
  bool HasRoom(size_t packets, size_t bytes) const {
    return count_ + packets <= batch_.capacity() && end_ + bytes <= batch_.size();
  }

  // Where the next packet goes, with room for `length` bytes; nullptr if there is none.
  uint8_t* Reserve(size_t length) const {
    return HasRoom(1, margins_.sum() + length) ? batch_.memory() + end_ + margins_.headroom : nullptr;
  }

  // The packet is there now, `length` bytes of it.
  void Commit(size_t length) {
    const size_t offset = end_ + margins_.headroom;
    batch_.entries()[count_] = {static_cast<uint32_t>(offset), static_cast<uint32_t>(length), 0,
                                static_cast<uint32_t>(end_)};
    Advance(1, length, offset + length + margins_.tailroom);
  }

  // The caller has written `packets` entries; the last one's slot ends at `end`.
  void Advance(size_t packets, size_t bytes, size_t end) {
    count_ += packets;
    end_ = std::min(AlignSlot(end), batch_.size());
    outcome_.packets += static_cast<uint32_t>(packets);
    outcome_.bytes += static_cast<uint32_t>(bytes);
  }

  void CountMalformed() { outcome_.malformed++; }

  Outcome Finish(int error) {
    batch_.header()->count = static_cast<uint32_t>(count_);
    batch_.header()->end = static_cast<uint32_t>(end_);
    outcome_.error = error;
    return outcome_;
  }

 private:
  const BatchView& batch_;
  const Margins margins_;
  size_t count_;
  size_t end_;
  Outcome outcome_;
};

}  // namespace tuntap
