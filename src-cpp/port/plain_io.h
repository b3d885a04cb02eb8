#pragma once

#include "batch_reader.h"
#include "batch_writer.h"

namespace tuntap {

// One read(2) a packet.
class PlainReader final : public BatchReader {
 public:
  Outcome Read(int fd, const BatchView& batch, Margins margins) override;
};

// One write(2) a packet.
class PlainWriter final : public BatchWriter {
 public:
  Outcome Write(int fd, const BatchView& batch, size_t start) override;
};

// Writes one packet. Returns its length or -errno.
[[nodiscard]] int64_t WritePacket(int fd, const uint8_t* packet, size_t length);

}  // namespace tuntap
