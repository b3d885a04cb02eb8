#pragma once

#include <sys/uio.h>

#include <array>
#include <memory>

#include "batch_writer.h"
#include "control_messages.h"
#include "socket_errors.h"

namespace tuntap {

// Where a write goes: one entry is for all packets, of several entries[i] is for packet i, or with runs, for
// the packets of run i. Without entries: the connected peer.
struct Remotes {
  const DatagramEntry* entries = nullptr;
  size_t count = 0;
  const PacketRun* runs = nullptr;  // in the order of their packets
  size_t run_count = 0;
};

// Sends batches of datagrams: sendmmsg(2), with UDP_SEGMENT (udp(7)) while UdpState::gso is set. A run of
// packets of one size, the last one may be shorter, to one remote is one message. A message is sent whole or
// not at all, so one that is refused can be sent again packet by packet.
class UdpSender final : public BatchWriter {
 public:
  static constexpr size_t kMaxRunPackets = 64;  // UDP_MAX_SEGMENTS before Linux 6.9
  // The largest UDP payloads: 65,535 less the IPv4 and UDP headers, or less the UDP header.
  static constexpr size_t kMaxPayloadIpv4 = 65507;
  static constexpr size_t kMaxPayloadIpv6 = 65527;

  // `state` must outlive the sender.
  UdpSender(int family, UdpState* state);

  Outcome Write(int fd, const BatchView& batch, size_t start) override {
    return WriteTo(fd, batch, start, batch.count(), {});
  }
  // Sends packets `start` to `end` - 1, each to its remote.
  [[nodiscard]] Outcome WriteTo(int fd, const BatchView& batch, size_t start, size_t end,
                                const Remotes& remotes);
  // Sends one datagram, which may be empty. Returns 0 or -errno.
  [[nodiscard]] int SendTo(int fd, const uint8_t* data, size_t length, const DatagramEntry& entry);

 private:
  static constexpr size_t kMessages = 64;    // of one sendmmsg(2)
  static constexpr size_t kMaxIovec = 1024;  // UIO_MAXIOV
  static constexpr size_t kRoutes = 64;

  // What one message sends: packets `first` to `last` - 1 of a batch.
  struct Run {
    size_t first;
    size_t last;
    const DatagramEntry* entry;
    uint32_t packets;
    uint32_t bytes;
    bool segmented;
  };

  const DatagramEntry* EntryOf(const Remotes& remotes, size_t packet);
  size_t PlanSend(const BatchView& batch, size_t next, size_t end, const Remotes& remotes,
                  size_t unsegmented_until, size_t* planned_until);
  size_t ExtendRun(const BatchView& batch, size_t next, size_t end, const Remotes& remotes, bool segmented,
                   size_t iovec, Run* run);
  int PeerFamily() const { return state_->peer_family == AF_INET ? AF_INET : family_; }
  Refusal& RouteOf(const DatagramEntry& entry);
  bool IsRefusedAgain(const DatagramEntry& entry, int error);

  const int family_;
  UdpState* const state_;
  SocketErrors errors_;
  std::array<mmsghdr, kMessages> messages_{};
  std::array<sockaddr_storage, kMessages> addresses_{};
  std::array<Run, kMessages> runs_{};
  std::unique_ptr<iovec[]> iovecs_;
  std::unique_ptr<uint8_t[]> control_;
  // Remotes to which the kernel can't segment (EIO), by a hash: two that share one are both sent unsegmented.
  std::array<Refusal, kRoutes> unsegmented_;
  bool any_unsegmented_ = false;
  size_t entry_run_ = 0;  // of Remotes::runs, the one that EntryOf() found last
  // The remote of the last call, if the kernel found it unreachable.
  DatagramEntry unreachable_{};
  int unreachable_error_ = 0;
};

}  // namespace tuntap
