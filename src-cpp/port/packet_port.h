#ifndef TUNTAP_PACKET_PORT_H_
#define TUNTAP_PACKET_PORT_H_

#include <cerrno>
#include <cstddef>

#include "datagram.h"
#include "packet_io.h"

namespace tuntap {

// How packets go between a batch and one fd; it may keep state between calls. Neither call blocks or knows
// Node-API. The outcome is in the batch's header and in the entries' status, as packet_io.h says.
class PacketPort {
 public:
  virtual ~PacketPort() = default;

  // Appends packets to the batch.
  virtual void Read(int fd, const Batch& batch, Room room) = 0;

  // Whether packets were read from the fd that no batch had room for. Read() appends them first, and
  // ReadPending() appends them alone.
  [[nodiscard]] virtual bool Pending() const { return false; }
  virtual void ReadPending(int, const Batch& batch, Room) { batch.BeginOutcome(); }

  // Writes entries `start` to `end`, which the batch has.
  virtual void Write(int fd, const Batch& batch, size_t start, size_t end) = 0;

  // As Write; a socket sends each entry to its remote.
  virtual void WriteTo(int fd, const Batch& batch, size_t start, size_t end, const Remotes&) {
    Write(fd, batch, start, end);
  }

  // Sends one datagram, which may be empty. Returns 0 or -errno.
  [[nodiscard]] virtual int SendTo(int, const uint8_t*, size_t, const DatagramSlot&) { return -EOPNOTSUPP; }

  // The fd polled as failed; a read follows.
  virtual void OnFailed(int) {}
};

// One read(2) or write(2) a packet.
class PlainPort final : public PacketPort {
 public:
  void Read(int fd, const Batch& batch, Room room) override { ReadPackets(fd, batch, room); }
  void Write(int fd, const Batch& batch, size_t start, size_t end) override {
    WritePackets(fd, batch, start, end);
  }
};

}  // namespace tuntap

#endif  // TUNTAP_PACKET_PORT_H_
