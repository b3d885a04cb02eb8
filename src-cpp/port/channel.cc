#include "channel.h"

namespace tuntap {

void Channel::SetPorts(std::unique_ptr<BatchReader> reader, std::unique_ptr<BatchWriter> writer) {
  reader_ = std::move(reader);
  writer_ = std::move(writer);
  udp_sender_ = nullptr;
}

void Channel::SetUdp(std::unique_ptr<UdpReceiver> receiver, std::unique_ptr<UdpSender> sender) {
  UdpSender* const udp_sender = sender.get();
  SetPorts(std::move(receiver), std::move(sender));
  udp_sender_ = udp_sender;
}

void Channel::Watch(Readiness* readiness, double* counters) {
  readiness_ = readiness;
  counters_ = counters;
}

int Channel::Arm(int events) {
  if (readiness_ == nullptr) return -EBADF;
  const bool pending = (events & kReadable) && reader_->Pending();
  const int result = readiness_->Arm(pending ? events & ~kReadable : events);
  return result == 0 && pending ? 1 : result;
}

void Channel::Disarm(int events) {
  if (readiness_ != nullptr) readiness_->Disarm(events);
}

int Channel::FinishRead(const BatchView& batch, const Outcome& outcome) {
  batch.Store(outcome);
  if (counters_ != nullptr) {
    counters_[kPacketsRead] += outcome.packets;
    counters_[kBytesRead] += outcome.bytes;
    counters_[kMalformed] += outcome.malformed;
  }
  return outcome.packets == 0 && outcome.error == 0 ? -EINVAL : kReadable;
}

void Channel::FinishWrite(const BatchView& batch, const Outcome& outcome) {
  batch.Store(outcome);
  CountWritten(outcome.packets, outcome.bytes);
}

void Channel::CountWritten(size_t packets, size_t bytes) {
  if (counters_ == nullptr) return;
  counters_[kPacketsWritten] += static_cast<double>(packets);
  counters_[kBytesWritten] += static_cast<double>(bytes);
}

int64_t Channel::WriteOne(const uint8_t* packet, size_t length) {
  const int64_t written = WritePacket(fd(), packet, length);
  if (written >= 0) CountWritten(1, length);
  return written;
}

int Channel::WriteTo(const BatchView& batch, size_t start, const Remotes& remotes) {
  if (udp_sender_ == nullptr) return -ENOTSOCK;
  FinishWrite(batch, udp_sender_->WriteTo(fd(), batch, start, batch.count(), remotes));
  return 0;
}

int Channel::SendTo(const uint8_t* data, size_t length, const DatagramEntry& entry) {
  if (udp_sender_ == nullptr) return -ENOTSOCK;
  const int result = udp_sender_->SendTo(fd(), data, length, entry);
  if (result == 0) CountWritten(1, length);
  return result;
}

FileDescriptor Channel::Close() {
  if (readiness_ != nullptr) std::exchange(readiness_, nullptr)->Close();
  return std::move(fd_);
}

}  // namespace tuntap
