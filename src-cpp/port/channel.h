#pragma once

#include <memory>

#include "linux/file_descriptor.h"
#include "plain_io.h"
#include "readiness.h"
#include "udp_receiver.h"
#include "udp_sender.h"

namespace tuntap {

// The fd of a device or socket, its readiness, and what reads and writes its batches. It adds up in counters
// what was transferred. Every operation on a batch leaves its outcome in the batch's header.
class Channel {
 public:
  explicit Channel(FileDescriptor fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  void set_closer(FileDescriptor::Closer closer) { fd_.set_closer(closer); }

  // What batches are read and written by; one packet a system call at first.
  void SetPorts(std::unique_ptr<BatchReader> reader, std::unique_ptr<BatchWriter> writer);
  void SetUdp(std::unique_ptr<UdpReceiver> receiver, std::unique_ptr<UdpSender> sender);

  // `counters` has kCounters numbers. Both must live until Close().
  void Watch(Readiness* readiness, double* counters);
  bool watched() const { return readiness_ != nullptr; }
  void SetReferenced(bool referenced) { readiness_->SetReferenced(referenced); }

  // Arms the readiness. Returns 0, -errno, or 1 if packets are pending, which no event tells of: these are
  // then what can be read. The fd is not read meanwhile.
  [[nodiscard]] int Arm(int events);
  bool IsArmed(int events) const { return readiness_ != nullptr && readiness_->IsArmed(events); }
  void Disarm(int events);

  // Appends packets to a batch, from the fd or those that are pending. Returns kReadable, or -EINVAL if the
  // batch has no room. Without this error, a batch that JavaScript overwrote would be read into for ever.
  [[nodiscard]] int Read(const BatchView& batch, Margins margins) {
    return FinishRead(batch, reader_->Read(fd(), batch, margins));
  }
  [[nodiscard]] int ReadPending(const BatchView& batch, Margins margins) {
    return FinishRead(batch, reader_->ReadPending(batch, margins));
  }
  void OnFailed() { reader_->OnFailed(fd()); }

  void Write(const BatchView& batch, size_t start) { FinishWrite(batch, writer_->Write(fd(), batch, start)); }
  // One packet as it is. Returns its length or -errno.
  [[nodiscard]] int64_t WriteOne(const uint8_t* packet, size_t length);

  // As UdpSender's. Returns 0 or -errno: -ENOTSOCK for a channel of another kind.
  [[nodiscard]] int WriteTo(const BatchView& batch, size_t start, const Remotes& remotes);
  [[nodiscard]] int SendTo(const uint8_t* data, size_t length, const DatagramEntry& entry);

  // Ends the watch. Returns the fd, which is the caller's to close.
  [[nodiscard]] FileDescriptor Close();

 private:
  int FinishRead(const BatchView& batch, const Outcome& outcome);
  void FinishWrite(const BatchView& batch, const Outcome& outcome);
  void CountWritten(size_t packets, size_t bytes);

  FileDescriptor fd_;
  std::unique_ptr<BatchReader> reader_ = std::make_unique<PlainReader>();
  std::unique_ptr<BatchWriter> writer_ = std::make_unique<PlainWriter>();
  UdpSender* udp_sender_ = nullptr;  // writer_, if it is one
  Readiness* readiness_ = nullptr;
  double* counters_ = nullptr;
};

}  // namespace tuntap
