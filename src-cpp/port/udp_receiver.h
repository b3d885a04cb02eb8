#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <memory>

#include "batch_reader.h"
#include "control_messages.h"
#include "socket_errors.h"

namespace tuntap {

// Receives batches of datagrams: recvmmsg(2), with UDP_GRO (udp(7)) if the socket has it. A message's iovecs
// lie where its packets belong if they have the size that the last ones had, so that the kernel's copy is the
// only one. Without margins around the packets, a super-packet is in place as it is.
class UdpReceiver final : public BatchReader {
 public:
  // `received` gets what accompanies each packet of a read, `received_count` entries; it and `state` must
  // outlive the receiver. Datagrams longer than `max_size` are cut to it and flagged.
  UdpReceiver(UdpState* state, DatagramEntry* received, size_t received_count, size_t max_size);

  Outcome Read(int fd, const BatchView& batch, Margins margins) override;
  void OnFailed(int fd) override { (void)errors_.Drain(fd); }

 private:
  static constexpr size_t kIovecs = kReceivedMessages * (kMaxSegments + 1);
  static constexpr size_t kControlReceived = 192;

  size_t PlanReceive(const Appender& out);
  bool InPlace(size_t message, const ReceivedInfo& info) const;
  void CopyScattered(size_t message, uint8_t* to) const;
  void TakeReceived(size_t received, Appender* out);
  void AppendInPlace(size_t offset, size_t stride, size_t segment, size_t length, const DatagramEntry& info,
                     Appender* out) const;
  void AppendCopy(const uint8_t* bytes, size_t segment, size_t length, const DatagramEntry& info,
                  Appender* out) const;
  void Predict(size_t segment_size);

  UdpState* const state_;
  DatagramEntry* const received_;
  const size_t received_count_;
  const size_t max_size_;
  SocketErrors errors_;

  std::array<mmsghdr, kReceivedMessages> messages_{};
  std::array<sockaddr_storage, kReceivedMessages> addresses_{};
  std::unique_ptr<iovec[]> iovecs_;
  std::unique_ptr<uint8_t[]> control_;
  // Each message gets iovecs of `iovec_size_` at the places where packets of that size belong, and behind
  // them, in `overflow_`, room for the largest.
  size_t iovec_size_;
  size_t iovecs_per_message_ = 1;
  size_t stride_ = 0;                    // from one iovec of the last plan to the next
  bool whole_ = false;                   // each message is one iovec, whatever its segments' size
  uint32_t plain_messages_ = 0;          // in a row
  std::unique_ptr<uint8_t[]> overflow_;  // pages that are never touched cost nothing
  std::unique_ptr<uint8_t[]> gathered_;  // messages that did not fall in place; made when needed
};

}  // namespace tuntap
