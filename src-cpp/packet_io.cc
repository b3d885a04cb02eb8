#include "packet_io.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tuntap {
namespace {

constexpr size_t kSlotAlignment = 8;

size_t AlignUp(size_t value) { return (value + kSlotAlignment - 1) & ~(kSlotAlignment - 1); }

// Errors that end a device, against those that a packet has for itself: a TUN device that was deleted gives
// EBADFD, macvtap ENOLINK.
bool EndsWriting(int64_t result) {
  return result == -EAGAIN || result == -EBADFD || result == -EBADF || result == -ENOLINK ||
         result == -ENODEV;
}

}  // namespace

bool Batch::Take(uint8_t* memory, size_t size) {
  if (size < sizeof(TableHeader) || size > UINT32_MAX || reinterpret_cast<uintptr_t>(memory) % 4 != 0) {
    return false;
  }
  memory_ = memory;
  size_ = size;
  capacity_ = std::min<size_t>(header()->capacity, (size - sizeof(TableHeader)) / sizeof(TableEntry));
  return true;
}

void ReadPackets(int fd, const Batch& batch, Room room) {
  TableHeader* header = batch.header();
  TableEntry* entries = batch.entries();
  const size_t slab = sizeof(TableHeader) + batch.capacity() * sizeof(TableEntry);
  size_t count = header->count;
  size_t slot = std::max<size_t>(header->end, slab);
  uint32_t packets = 0;
  uint32_t bytes = 0;
  int error = 0;
  // The sums stay far below overflow: each term is below 2^33.
  const size_t needed = size_t{room.headroom} + kMaxPacketSize + room.tailroom;
  while (count < batch.capacity() && slot + needed <= batch.size()) {
    const size_t offset = slot + room.headroom;
    const ssize_t length = read(fd, batch.memory() + offset, kMaxPacketSize);
    if (length < 0) {
      if (errno == EINTR) continue;
      error = -errno;
      break;
    }
    if (length == 0) {  // no packet device ends like a file; an adopted fd might
      error = -ENODEV;
      break;
    }
    entries[count++] = {static_cast<uint32_t>(offset), static_cast<uint32_t>(length), 0,
                        static_cast<uint32_t>(slot)};
    slot = AlignUp(offset + static_cast<size_t>(length) + room.tailroom);
    packets++;
    bytes += static_cast<uint32_t>(length);
  }
  header->count = static_cast<uint32_t>(count);
  header->end = static_cast<uint32_t>(slot);
  header->packets = packets;
  header->bytes = bytes;
  header->error = error;
}

int64_t WritePacket(int fd, const uint8_t* packet, size_t length) {
  if (length == 0) return -EINVAL;
  if (length > kMaxPacketSize) return -EMSGSIZE;
  ssize_t written;
  do {
    written = write(fd, packet, length);
  } while (written < 0 && errno == EINTR);
  return written < 0 ? -errno : written;
}

void WritePackets(int fd, const Batch& batch, size_t start, size_t end) {
  uint32_t packets = 0;
  uint32_t bytes = 0;
  int error = 0;
  for (size_t i = start; i < end; i++) {
    TableEntry& entry = batch.entries()[i];
    if (error != 0) {
      entry.status = error;
      continue;
    }
    const uint32_t offset = entry.offset;
    const uint32_t length = entry.length;
    entry.status = 0;
    if (length == 0) continue;
    if (offset > batch.size() || length > batch.size() - offset) {
      entry.status = -EFAULT;
      continue;
    }
    const int64_t written = WritePacket(fd, batch.memory() + offset, length);
    if (written >= 0) {
      packets++;
      bytes += length;
      continue;
    }
    entry.status = static_cast<int32_t>(written);
    if (EndsWriting(written)) error = entry.status;
  }
  TableHeader* header = batch.header();
  header->packets = packets;
  header->bytes = bytes;
  header->error = error;
}

}  // namespace tuntap
