#include "plain_io.h"

#include <unistd.h>

#include "linux/uninterrupted.h"

namespace tuntap {

Outcome PlainReader::Read(int fd, const BatchView& batch, Margins margins) {
  Appender out(batch, margins);
  while (uint8_t* const packet = out.Reserve(kMaxTransferSize)) {
    const ssize_t length = Uninterrupted([&] { return read(fd, packet, kMaxTransferSize); });
    // No packet device ends like a file; an adopted fd might.
    if (length <= 0) return out.Finish(length < 0 ? static_cast<int>(length) : -ENODEV);
    out.Commit(static_cast<size_t>(length));
  }
  return out.Finish(0);
}

int64_t WritePacket(int fd, const uint8_t* packet, size_t length) {
  if (length == 0) return -EINVAL;
  if (length > kMaxTransferSize) return -EMSGSIZE;
  return Uninterrupted([&] { return write(fd, packet, length); });
}

Outcome PlainWriter::Write(int fd, const BatchView& batch, size_t start) {
  Outcome outcome;
  for (size_t i = start; i < batch.count(); i++) {
    int32_t& status = batch.entries()[i].status;
    status = outcome.error;
    const uint8_t* packet = nullptr;
    const int64_t length = batch.Packet(i, &packet);
    if (length == 0 || outcome.error != 0) continue;
    const int64_t written = length < 0 ? length : WritePacket(fd, packet, static_cast<size_t>(length));
    if (written >= 0) {
      outcome.Count(static_cast<size_t>(length));
      continue;
    }
    status = static_cast<int32_t>(written);
    if (StopsWriting(written)) outcome.error = status;
  }
  return outcome;
}

}  // namespace tuntap
