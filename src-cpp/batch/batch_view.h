#pragma once

#include <cstddef>
#include <cstdint>

#include "layout.h"

namespace tuntap {

// Checked access to a batch in memory that JavaScript owns. The memory must not change while the view is
// used.
class BatchView {
 public:
  // Returns 0; -EFAULT if there is no memory, since JavaScript detached it; or -EINVAL if the header does not
  // fit the memory.
  [[nodiscard]] int Map(uint8_t* memory, size_t size);

  uint8_t* memory() const { return memory_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  size_t count() const { return header()->count; }
  BatchHeader* header() const { return reinterpret_cast<BatchHeader*>(memory_); }
  BatchEntry* entries() const { return reinterpret_cast<BatchEntry*>(memory_ + sizeof(BatchHeader)); }
  size_t data_area() const { return sizeof(BatchHeader) + capacity_ * sizeof(BatchEntry); }

  // Whether the bytes lie in the data area.
  bool Contains(size_t offset, size_t length) const {
    return offset >= data_area() && offset <= size_ && length <= size_ - offset;
  }

  // Sets `*data` to packet `index`. Returns its length: 0 if it is empty or was dropped, -EFAULT if it lies
  // outside the data area.
  int64_t Packet(size_t index, const uint8_t** data) const;

  void Store(const Outcome& outcome) const { header()->outcome = outcome; }
  void Clear() const {
    header()->count = 0;
    header()->end = static_cast<uint32_t>(data_area());
  }

 private:
  uint8_t* memory_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace tuntap
