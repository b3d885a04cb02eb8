#ifndef TUNTAP_OFFLOAD_PORT_H_
#define TUNTAP_OFFLOAD_PORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "offload/coalescing.h"
#include "offload/segmentation.h"
#include "packet_port.h"

namespace tuntap {

// Exchanges super-packets with a device that has IFF_VNET_HDR, and ordinary packets with its user.
//
// Reading splits: what does not fit into one batch goes into the next (Pending()). A packet whose header lies
// is dropped and counted in header()->malformed. Writing coalesces: where the kernel refuses a super-packet,
// the packets that it was made of are written one by one.
class OffloadPort final : public PacketPort {
 public:
  // `virtio_header_size`: kMaxVirtioHeaderSize at most.
  OffloadPort(LinkLayer link, CoalescedProtocols protocols, size_t virtio_header_size);

  void Read(int fd, const Batch& batch, Room room) override;
  void Write(int fd, const Batch& batch, size_t start, size_t end) override;
  bool Pending() const override { return pending_length_ != 0 || !segmenter_.Done(); }
  void ReadPending(int fd, const Batch& batch, Room room) override;

 private:
  bool Emit(const Batch& batch, Room room);
  bool Resumes(const Batch& batch, size_t start) const;
  void WriteGroup(int fd, const Batch& batch, size_t start, size_t write);
  bool WriteOneByOne(int fd, const Batch& batch, size_t start, size_t write);

  const uint32_t id_;  // in the header of a batch whose write -EAGAIN ended
  const LinkLayer link_;
  CoalescedProtocols protocols_;
  const size_t virtio_header_size_;
  Segmenter segmenter_;
  // What was read: a packet that stands for itself (pending_length_), or the segmenter's.
  std::unique_ptr<uint8_t[]> read_buffer_;
  size_t pending_length_ = 0;
  std::unique_ptr<Coalescer> coalescer_;  // made by the first write of more than one packet
  std::vector<OutgoingPacket> packets_;
};

}  // namespace tuntap

#endif  // TUNTAP_OFFLOAD_PORT_H_
