#pragma once

#include <memory>
#include <vector>

#include "batch_writer.h"
#include "offload/coalescing.h"

namespace tuntap {

// Coalesces ordinary packets into super-packets and writes these to a device with IFF_VNET_HDR. If the kernel
// refuses a super-packet, its packets are written one by one.
class VirtioWriter final : public BatchWriter {
 public:
  // `header_size`: kMaxVirtioHeaderSize at most.
  VirtioWriter(LinkLayer link, CoalescedProtocols protocols, size_t header_size);

  Outcome Write(int fd, const BatchView& batch, size_t start) override;

 private:
  bool Resumes(const BatchView& batch, size_t start) const;
  void WriteGroup(int fd, size_t group, BatchEntry* entries, Outcome* outcome);

  const uint32_t id_;  // in the header of a batch whose write it can resume
  const LinkLayer link_;
  const CoalescedProtocols protocols_;
  const size_t header_size_;
  Refusal tcp_refused_;
  Refusal udp_refused_;
  std::unique_ptr<Coalescer> coalescer_;  // made by the first write
  std::vector<OutgoingPacket> packets_;
};

}  // namespace tuntap
