#ifndef TUNTAP_UDP_BATCH_H_
#define TUNTAP_UDP_BATCH_H_

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <memory>

#include "datagram.h"
#include "packet_port.h"

namespace tuntap {

// What the port tells JavaScript, in memory that both see. lib/tunnel/udp-batch-socket.ts has the same.
struct UdpState {
  static constexpr size_t kErrors = 32;

  uint32_t gso;              // whether runs leave as one send; falls to 0 where the path refuses it
  uint32_t gro;              // whether the kernel may coalesce what it receives
  uint32_t drops;            // datagrams that the kernel dropped since the receive buffer was full
  uint32_t segmented_sends;  // UDP_SEGMENT sends
  uint32_t coalesced_reads;  // UDP_GRO super-packets
  uint32_t error_count;      // records in `errors`; JavaScript empties it
  uint32_t errors_lost;      // those that had no place
  uint32_t reserved;
  SocketErrorRecord errors[kErrors];
};

// A UDP socket's batches: recvmmsg(2) and sendmmsg(2), with UDP_GRO and UDP_SEGMENT (udp(7)) where they are
// on.
class UdpPort final : public PacketPort {
 public:
  // Of a super-packet: UDP_MAX_SEGMENTS since Linux 6.9, 64 before. A batch to read into has room for as many
  // of the largest size, lib/tunnel/udp-batch-socket.ts sees to it.
  static constexpr size_t kMaxSegments = 128;

  // `received` gets what accompanies each packet of a read, `received_count` entries; it and `state` outlive
  // the port. Datagrams longer than `max_size` are cut to it and flagged.
  UdpPort(int family, UdpState* state, DatagramSlot* received, size_t received_count, size_t max_size);

  void Read(int fd, const Batch& batch, Room room) override;
  void Write(int fd, const Batch& batch, size_t start, size_t end) override {
    WriteTo(fd, batch, start, end, Remotes{});
  }
  void WriteTo(int fd, const Batch& batch, size_t start, size_t end, const Remotes& remotes) override;
  int SendTo(int fd, const uint8_t* data, size_t length, const DatagramSlot& slot) override;
  void OnFailed(int fd) override { (void)DrainErrors(fd); }

 private:
  static constexpr size_t kSent = 64;        // messages of one sendmmsg(2)
  static constexpr size_t kReceived = 16;    // messages of one recvmmsg(2)
  static constexpr size_t kMaxIovec = 1024;  // UIO_MAXIOV
  static constexpr size_t kPieces = kReceived * (kMaxSegments + 1);
  static constexpr size_t kControlReceived = 192;

  class Appender;

  // What one message sends: entries `first` to `last` - 1 of a batch.
  struct Run {
    size_t first;
    size_t last;
    const DatagramSlot* slot;
    uint32_t packets;
    uint32_t bytes;
    bool segmented;
  };

  // Takes what is in the error queue, so that it no longer fails calls or polls. Returns whether a call may
  // have failed for that.
  bool DrainErrors(int fd);
  bool MayBeEarlier(int fd, int failed);
  bool TakePendingError(int fd);
  void Record(const SocketErrorRecord& record);
  void RecordAlone(int error);  // of which nothing more is known

  size_t PlanReceive(const Batch& batch, const Appender& out, Room room);
  bool InPlace(size_t message, const ReceivedInfo& info) const;
  void Gather(size_t message, uint8_t* to) const;
  void TakeReceived(const Batch& batch, size_t received, Appender* out);
  void Predict(size_t segment_size);

  size_t PlanSend(const Batch& batch, size_t next, size_t end, const Remotes& remotes, size_t alone_to,
                  size_t* planned_to);
  size_t ExtendRun(const Batch& batch, size_t next, size_t end, const Remotes& remotes, bool alone,
                   size_t piece, Run* run);

  const int family_;
  UdpState* const state_;
  DatagramSlot* const received_;
  const size_t received_count_;
  const size_t max_size_;

  std::array<mmsghdr, kSent> messages_{};
  std::array<sockaddr_storage, kSent> addresses_{};
  std::array<Run, kSent> runs_{};
  std::unique_ptr<iovec[]> pieces_;
  std::unique_ptr<uint8_t[]> control_;

  // Receiving. Each message gets pieces of `piece_size_` at the places where packets of that size belong, and
  // behind them, in `overflow_`, room for the largest.
  size_t piece_size_;
  size_t pieces_per_message_ = 1;
  size_t stride_ = 0;                    // from one piece of the last plan to the next
  bool whole_ = false;                   // each message is one piece, whatever its segments' size
  uint32_t plain_messages_ = 0;          // in a row
  std::unique_ptr<uint8_t[]> overflow_;  // pages that are never touched cost nothing
  std::unique_ptr<uint8_t[]> gathered_;  // messages that did not fall in place; made when needed
};

}  // namespace tuntap

#endif  // TUNTAP_UDP_BATCH_H_
