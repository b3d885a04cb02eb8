#include "batch_view.h"

#include <cerrno>

namespace tuntap {

int BatchView::Map(uint8_t* memory, size_t size) {
  if (memory == nullptr || size == 0) return -EFAULT;
  const bool aligned = reinterpret_cast<uintptr_t>(memory) % alignof(BatchHeader) == 0;
  if (size < sizeof(BatchHeader) || size > UINT32_MAX || !aligned) return -EINVAL;
  memory_ = memory;
  size_ = size;
  capacity_ = header()->capacity;
  const bool valid = capacity_ >= 1 && capacity_ <= kMaxCapacity && header()->count <= capacity_ &&
                     Contains(header()->end, 0);
  return valid ? 0 : -EINVAL;
}

int64_t BatchView::Packet(size_t index, const uint8_t** data) const {
  const BatchEntry& entry = entries()[index];
  if (entry.length == 0 || entry.length == kDropped) return 0;
  if (!Contains(entry.offset, entry.length)) return -EFAULT;
  *data = memory_ + entry.offset;
  return entry.length;
}

}  // namespace tuntap
