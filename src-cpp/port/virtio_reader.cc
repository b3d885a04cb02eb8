#include "virtio_reader.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "linux/uninterrupted.h"

namespace tuntap {

VirtioReader::VirtioReader(LinkLayer link, size_t header_size)
    : link_(link), header_size_(header_size), read_buffer_(new uint8_t[kMaxPacketSize]) {}

// Puts what was read into the batch; returns whether all of it found room.
bool VirtioReader::Emit(Appender* out) {
  for (;;) {
    const size_t length = pending_length_ != 0 ? pending_length_ : segmenter_.NextLength();
    if (length == 0) return true;
    uint8_t* const packet = out->Reserve(length);
    if (packet == nullptr) return false;
    if (pending_length_ != 0) {
      std::memcpy(packet, read_buffer_.get(), length);
      pending_length_ = 0;
    } else {
      segmenter_.Next(packet);
    }
    out->Commit(length);
  }
}

Outcome VirtioReader::Read(int fd, const BatchView& batch, Margins margins) {
  Appender out(batch, margins);
  // What the largest super-packet of this read takes, by PacketBatch.hasRoom at most. Another one without
  // room would be cut in two, and be written as two.
  size_t packets = 1;
  size_t bytes = 0;
  while (Emit(&out) && out.HasRoom(packets, bytes)) {
    PaddedVirtioNetHeader virtio;
    const iovec parts[2] = {{&virtio, header_size_}, {read_buffer_.get(), kMaxPacketSize}};
    const ssize_t length = Uninterrupted([&] { return readv(fd, parts, 2); });
    if (length <= static_cast<ssize_t>(header_size_)) {  // nothing at all: an adopted fd that is no device
      return out.Finish(length < 0 ? static_cast<int>(length) : -ENODEV);
    }
    const size_t packet_length = static_cast<size_t>(length) - header_size_;
    const int count = segmenter_.Begin(virtio.header, read_buffer_.get(), packet_length, link_);
    if (count < 0) out.CountMalformed();
    if (count == 1) pending_length_ = packet_length;
    if (count <= 1) continue;
    packets = std::max(packets, static_cast<size_t>(count));
    const size_t slot = margins.sum() + segmenter_.NextLength();
    bytes = std::min(kMaxTransferSize, std::max(bytes, static_cast<size_t>(count) * slot));
  }
  return out.Finish(0);
}

Outcome VirtioReader::ReadPending(const BatchView& batch, Margins margins) {
  Appender out(batch, margins);
  (void)Emit(&out);
  return out.Finish(0);
}

}  // namespace tuntap
