#include "offload_port.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace tuntap {
namespace {

int WriteVector(int fd, const Coalescer::Write& write) {
  ssize_t written;
  do {
    written = writev(fd, write.slices, write.count);
  } while (written < 0 && errno == EINTR);
  return written < 0 ? -errno : 0;
}

// No two ports of a process have the same, so a batch never takes one for another.
uint32_t NextId() {
  static std::atomic<uint32_t> last{0};
  return ++last;
}

void Accept(const Batch& batch, size_t index) {
  TableEntry& entry = batch.entries()[index];
  entry.status = kAlreadySent;  // where no -EAGAIN follows, Write() makes it 0
  batch.header()->packets++;
  batch.header()->bytes += entry.length;
}

void Refuse(const Batch& batch, size_t index, int reason) {
  batch.entries()[index].status = reason;
  if (EndsWriting(reason)) batch.header()->error = reason;
}

}  // namespace

OffloadPort::OffloadPort(LinkLayer link, CoalescedProtocols protocols, size_t virtio_header_size)
    : id_(NextId()),
      link_(link),
      protocols_(protocols),
      virtio_header_size_(virtio_header_size),
      read_buffer_(new uint8_t[kMaxPacketSize]) {}

// Puts what was read into the batch; returns whether all of it found room.
bool OffloadPort::Emit(const Batch& batch, Room room) {
  for (;;) {
    const size_t length = pending_length_ != 0 ? pending_length_ : segmenter_.NextLength();
    if (length == 0) return true;
    uint8_t* const packet = batch.Reserve(length, room);
    if (packet == nullptr) return false;
    if (pending_length_ != 0) {
      std::memcpy(packet, read_buffer_.get(), length);
      pending_length_ = 0;
    } else {
      segmenter_.Next(packet);
    }
    batch.Commit(length, room);
  }
}

void OffloadPort::Read(int fd, const Batch& batch, Room room) {
  batch.BeginOutcome();
  TableHeader* const outcome = batch.header();
  // What the largest super-packet of this read takes, by PacketBatch.hasRoom at most. Another one without
  // room would be cut in two, and be written as two.
  size_t packets = 1;
  size_t bytes = 0;
  while (Emit(batch, room) && outcome->count + packets <= batch.capacity() &&
         outcome->end + bytes <= batch.size()) {
    PaddedVirtioNetHeader virtio;
    const iovec parts[2] = {{&virtio, virtio_header_size_}, {read_buffer_.get(), kMaxPacketSize}};
    const ssize_t length = readv(fd, parts, 2);
    if (length < 0 && errno == EINTR) continue;
    // Nothing at all: an adopted fd that is no device.
    if (length <= static_cast<ssize_t>(virtio_header_size_)) {
      outcome->error = length < 0 ? -errno : -ENODEV;
      return;
    }
    const size_t packet_length = static_cast<size_t>(length) - virtio_header_size_;
    const int count = segmenter_.Begin(virtio.header, read_buffer_.get(), packet_length, link_);
    if (count < 0) outcome->malformed++;
    if (count == 1) pending_length_ = packet_length;
    if (count <= 1) continue;
    const size_t slot = room.headroom + segmenter_.NextLength() + room.tailroom;
    packets = std::max(packets, static_cast<size_t>(count));
    bytes = std::min(kMaxTransferSize, std::max(bytes, static_cast<size_t>(count) * slot));
  }
}

void OffloadPort::ReadPending(int, const Batch& batch, Room room) {
  batch.BeginOutcome();
  (void)Emit(batch, room);
}

// Whether this is the rest of a write of ours: from its first unsent packet on, or from a later one.
bool OffloadPort::Resumes(const Batch& batch, size_t start) const {
  if (batch.header()->writer != id_) return false;
  for (size_t i = 0; i <= start && i < batch.header()->count; i++) {
    if (batch.entries()[i].status == -EAGAIN) return true;
  }
  return false;
}

void OffloadPort::Write(int fd, const Batch& batch, size_t start, size_t end) {
  const bool resumes = Resumes(batch, start);
  batch.BeginOutcome();
  if (coalescer_ == nullptr) coalescer_ = std::make_unique<Coalescer>(virtio_header_size_);
  const size_t count = end - start;
  packets_.resize(std::max(packets_.size(), count));
  for (size_t i = 0; i < count; i++) {
    int32_t& status = batch.entries()[start + i].status;
    packets_[i] = {nullptr, 0};
    if (resumes && status == kAlreadySent) continue;
    const int64_t length = batch.Packet(start + i, &packets_[i].data);
    status = length < 0 ? static_cast<int32_t>(length) : 0;
    if (length > 0) packets_[i].length = static_cast<size_t>(length);
  }
  const auto protocols = count == 1 ? CoalescedProtocols{} : protocols_;
  const size_t writes = coalescer_->Plan(packets_.data(), count, link_, protocols);
  for (size_t i = 0; i < writes; i++) WriteGroup(fd, batch, start, i);
  if (batch.header()->error == -EAGAIN) {
    batch.header()->writer = id_;
    return;
  }
  for (size_t i = start; i < end; i++) {
    int32_t& status = batch.entries()[i].status;
    status = std::min(status, 0);
  }
}

void OffloadPort::WriteGroup(int fd, const Batch& batch, size_t start, size_t write) {
  int result = batch.header()->error;
  if (result == 0) result = WriteVector(fd, coalescer_->Prepare(write));
  // EIO: the link is down, for every packet.
  const bool final = result == 0 || EndsWriting(result) || result == -EIO;
  if (!final && coalescer_->PacketCount(write) > 1) {
    const bool taken = WriteOneByOne(fd, batch, start, write);
    // It does not know this kind (before Linux 6.2: UDP) or is one of those with a bug (6.6.44): the next
    // ones are left apart. Another error, such as ENOBUFS, passes.
    if (taken && result == -EINVAL) (coalescer_->IsUdp(write) ? protocols_.udp : protocols_.tcp) = false;
    return;
  }
  for (uint32_t i = coalescer_->FirstPacket(write); i != Coalescer::kNoPacket;
       i = coalescer_->NextPacket(i)) {
    result == 0 ? Accept(batch, start + i) : Refuse(batch, start + i, result);
  }
}

// Writes the packets of a super-packet that the kernel refused; returns whether it took any of them.
bool OffloadPort::WriteOneByOne(int fd, const Batch& batch, size_t start, size_t write) {
  bool taken = false;
  for (uint32_t i = coalescer_->FirstPacket(write); i != Coalescer::kNoPacket;
       i = coalescer_->NextPacket(i)) {
    int result = batch.header()->error;
    if (result == 0) result = WriteVector(fd, coalescer_->PrepareSingle(i));
    result == 0 ? Accept(batch, start + i) : Refuse(batch, start + i, result);
    taken = taken || result == 0;
  }
  return taken;
}

}  // namespace tuntap
