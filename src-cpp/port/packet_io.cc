#include "packet_io.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tuntap {
namespace {

constexpr size_t kSlotAlignment = 8;

size_t AlignUp(size_t value) { return (value + kSlotAlignment - 1) & ~(kSlotAlignment - 1); }

}  // namespace

bool EndsWriting(int64_t result) {
  return result == -EAGAIN || result == -EBADFD || result == -EBADF || result == -ENOLINK ||
         result == -ENODEV;
}

int Batch::Take(uint8_t* memory, size_t size) {
  if (memory == nullptr || size == 0) return -EFAULT;
  if (size < sizeof(TableHeader) || size > UINT32_MAX || reinterpret_cast<uintptr_t>(memory) % 4 != 0) {
    return -EINVAL;
  }
  memory_ = memory;
  size_ = size;
  capacity_ = header()->capacity;
  slab_ = sizeof(TableHeader) + capacity_ * sizeof(TableEntry);
  const bool valid = capacity_ >= 1 && capacity_ <= kMaxCapacity && header()->count <= capacity_ &&
                     slab_ <= header()->end && header()->end <= size;
  return valid ? 0 : -EINVAL;
}

uint8_t* Batch::Reserve(size_t length, Room room) const {
  // The sum stays far below overflow: each term is below 2^33.
  const size_t end = size_t{header()->end} + room.headroom + length + room.tailroom;
  if (header()->count >= capacity_ || end > size_) return nullptr;
  return memory_ + header()->end + room.headroom;
}

void Batch::Commit(size_t length, Room room) const {
  TableHeader* const table = header();
  const uint32_t slot = table->end;
  const uint32_t offset = slot + room.headroom;
  const auto size = static_cast<uint32_t>(length);
  entries()[table->count++] = {offset, size, 0, slot};
  table->end = static_cast<uint32_t>(std::min(AlignUp(size_t{offset} + size + room.tailroom), size_));
  table->packets++;
  table->bytes += size;
}

int64_t Batch::Packet(size_t index, const uint8_t** data) const {
  const TableEntry& entry = entries()[index];
  if (entry.length == 0 || entry.length == kDropped) return 0;
  if (entry.offset < slab_ || entry.offset > size_ || entry.length > size_ - entry.offset) return -EFAULT;
  *data = memory_ + entry.offset;
  return entry.length;
}

void Batch::BeginOutcome() const {
  header()->packets = 0;
  header()->bytes = 0;
  header()->error = 0;
  header()->malformed = 0;
  header()->writer = 0;
}

void ReadPackets(int fd, const Batch& batch, Room room) {
  batch.BeginOutcome();
  while (uint8_t* const packet = batch.Reserve(kMaxTransferSize, room)) {
    const ssize_t length = read(fd, packet, kMaxTransferSize);
    if (length > 0) {
      batch.Commit(static_cast<size_t>(length), room);
    } else if (length == 0) {  // no packet device ends like a file; an adopted fd might
      batch.header()->error = -ENODEV;
      return;
    } else if (errno != EINTR) {
      batch.header()->error = -errno;
      return;
    }
  }
}

int64_t WritePacket(int fd, const uint8_t* packet, size_t length) {
  if (length == 0) return -EINVAL;
  if (length > kMaxTransferSize) return -EMSGSIZE;
  ssize_t written;
  do {
    written = write(fd, packet, length);
  } while (written < 0 && errno == EINTR);
  return written < 0 ? -errno : written;
}

void WritePackets(int fd, const Batch& batch, size_t start, size_t end) {
  batch.BeginOutcome();
  TableHeader* const outcome = batch.header();
  for (size_t i = start; i < end; i++) {
    TableEntry& entry = batch.entries()[i];
    entry.status = outcome->error;
    const uint8_t* packet = nullptr;
    const int64_t length = batch.Packet(i, &packet);
    if (length == 0 || outcome->error != 0) continue;
    const int64_t written = length < 0 ? length : WritePacket(fd, packet, static_cast<size_t>(length));
    if (written >= 0) {
      outcome->packets++;
      outcome->bytes += static_cast<uint32_t>(length);
      continue;
    }
    entry.status = static_cast<int32_t>(written);
    if (EndsWriting(written)) outcome->error = entry.status;
  }
}

}  // namespace tuntap
