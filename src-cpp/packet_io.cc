#include "packet_io.h"

#include <unistd.h>

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

void ReadPackets(int fd, const Batch& batch, size_t count, Room room) {
  TableHeader outcome{batch.header->end, 0, 0, 0};
  size_t slot = batch.header->end;
  // The sums stay far below overflow: each term is below 2^33.
  const size_t needed = size_t{room.headroom} + kMaxPacketSize + room.tailroom;
  while (count < batch.capacity && slot + needed <= batch.slab_size) {
    const size_t offset = slot + room.headroom;
    const ssize_t length = read(fd, batch.slab + offset, kMaxPacketSize);
    if (length < 0) {
      if (errno == EINTR) continue;
      outcome.error = -errno;
      break;
    }
    if (length == 0) {  // no packet device ends like a file; an adopted fd might
      outcome.error = -ENODEV;
      break;
    }
    batch.entries[count++] = {static_cast<uint32_t>(offset), static_cast<uint32_t>(length), 0,
                              static_cast<uint32_t>(slot)};
    slot = AlignUp(offset + static_cast<size_t>(length) + room.tailroom);
    outcome.end = static_cast<uint32_t>(slot);
    outcome.packets++;
    outcome.bytes += static_cast<uint32_t>(length);
  }
  *batch.header = outcome;
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
  TableHeader outcome{batch.header->end, 0, 0, 0};
  for (size_t i = start; i < end; i++) {
    TableEntry& entry = batch.entries[i];
    if (outcome.error != 0) {
      entry.status = outcome.error;
      continue;
    }
    const uint32_t offset = entry.offset;
    const uint32_t length = entry.length;
    entry.status = 0;
    if (length == 0) continue;
    if (offset > batch.slab_size || length > batch.slab_size - offset) {
      entry.status = -EFAULT;
      continue;
    }
    const int64_t written = WritePacket(fd, batch.slab + offset, length);
    if (written >= 0) {
      outcome.packets++;
      outcome.bytes += length;
      continue;
    }
    entry.status = static_cast<int32_t>(written);
    if (EndsWriting(written)) outcome.error = entry.status;
  }
  *batch.header = outcome;
}

}  // namespace tuntap
