#include <algorithm>
#include <cerrno>
#include <cstring>

#include "udp_batch.h"

// Sending: a run of packets of one size, the last one may be shorter, to one remote is one UDP_SEGMENT
// message. A message is sent whole or not at all, so one that is refused can be sent again packet by packet.

namespace tuntap {
namespace {

constexpr size_t kMaxRunPackets = 64;  // UDP_MAX_SEGMENTS before Linux 6.9
// The largest UDP payloads: 65,535 less the IPv4 and UDP headers, or less the UDP header.
constexpr size_t kMaxPayloadIpv4 = 65507;
constexpr size_t kMaxPayloadIpv6 = 65527;

const DatagramSlot kConnectedPeer{};

const DatagramSlot& SlotOf(const Remotes& remotes, size_t index) {
  if (remotes.slots == nullptr) return kConnectedPeer;
  return remotes.slots[remotes.count > 1 ? index : 0];
}

bool IsIpv6(const DatagramSlot& slot, int socket_family) {
  uint16_t family = 0;
  memcpy(&family, slot.remote, sizeof(family));
  return family == AF_INET6 || (family == 0 && socket_family == AF_INET6 && slot.local_family != AF_INET);
}

bool SameSlot(const DatagramSlot& one, const DatagramSlot& other) {
  return &one == &other || memcmp(&one, &other, sizeof(one)) == 0;
}

// What the next attempt packet by packet may succeed at: no checksum offload on the way out, or IPsec (EIO);
// segments that exceed the MTU (EMSGSIZE, EINVAL before Linux 6.12 or so).
bool RefusesSegments(int error) { return error == -EIO || error == -EINVAL || error == -EMSGSIZE; }

}  // namespace

// Adds packets to a run from entry `next` on, their pieces to `pieces_` from `piece` on. Returns how many
// pieces there are then.
size_t UdpPort::ExtendRun(const Batch& batch, size_t next, size_t end, const Remotes& remotes, bool alone,
                          size_t piece, Run* run) {
  *run = {next, next, nullptr, 0, 0, false};
  // A copy each, since the compiler must assume that what is written here changes the others.
  uint8_t* const memory = batch.memory();
  const size_t size = batch.size();
  const size_t slab = batch.slab();
  TableEntry* const entries = batch.entries();
  iovec* const pieces = pieces_.get();
  const size_t first_piece = piece;
  const size_t last_piece = std::min(kMaxIovec, piece + (alone ? 1 : kMaxRunPackets));
  const DatagramSlot* slot = nullptr;
  size_t segment = 0;
  size_t left = 0;  // bytes that the run can still take
  size_t i = next;
  bool shorter = false;
  for (; i < end && piece < last_piece && !shorter; i++) {
    TableEntry& entry = entries[i];
    const size_t offset = entry.offset;
    const size_t length = entry.length;
    const bool valid = offset >= slab && offset <= size && length <= size - offset &&
                       (i < remotes.count || remotes.count <= 1);
    if (length == kDropped || !valid) {
      if (length != kDropped && slot != nullptr) break;
      entry.status = length == kDropped ? 0 : -EFAULT;
      continue;
    }
    if (slot == nullptr) {
      slot = &SlotOf(remotes, i);
      segment = length;
      left = IsIpv6(*slot, family_) ? kMaxPayloadIpv6 : kMaxPayloadIpv4;
      left = std::max(left, length);  // a packet that is too long is sent alone, and refused
    } else if (length == 0 || length > segment || length > left || !SameSlot(*slot, SlotOf(remotes, i))) {
      break;
    }
    entry.status = 0;
    pieces[piece++] = {memory + offset, length};
    left -= length;
    shorter = length < segment || length == 0;  // an empty datagram is no segment
    run->bytes += static_cast<uint32_t>(length);
  }
  run->last = i;
  run->slot = slot;
  run->packets = static_cast<uint32_t>(piece - first_piece);
  run->segmented = run->packets > 1;
  return piece;
}

// Lays out the messages of one sendmmsg(2) from entry `next` on; returns how many.
size_t UdpPort::PlanSend(const Batch& batch, size_t next, size_t end, const Remotes& remotes, size_t alone_to,
                         size_t* planned_to) {
  size_t count = 0;
  size_t piece = 0;
  while (next < end && count < kSent && piece < kMaxIovec) {
    Run& run = runs_[count];
    const size_t first_piece = piece;
    piece = ExtendRun(batch, next, end, remotes, state_->gso == 0 || next < alone_to, piece, &run);
    next = run.last;
    if (run.packets == 0) continue;
    msghdr& header = messages_[count].msg_hdr;
    header.msg_iov = &pieces_[first_piece];
    header.msg_iovlen = piece - first_piece;
    const auto segment = static_cast<uint16_t>(run.segmented ? pieces_[first_piece].iov_len : 0);
    PrepareSend(family_, *run.slot, segment, &addresses_[count], control_.get() + count * kControlSize,
                &header);
    count++;
  }
  *planned_to = next;
  return count;
}

// Whether an error may be that of a datagram sent earlier, told in place of sending this one.
bool UdpPort::MayBeEarlier(int fd, int failed) { return DrainErrors(fd) || IsIcmpError(failed); }

void UdpPort::WriteTo(int fd, const Batch& batch, size_t start, size_t end, const Remotes& remotes) {
  uint32_t packets = 0;
  uint32_t bytes = 0;
  int error = 0;
  size_t next = start;
  size_t alone_to = start;   // packets before this go one by one
  size_t tried_again = end;  // the message that was tried again already
  while (next < end && error == 0) {
    size_t planned_to = next;
    const size_t count = PlanSend(batch, next, end, remotes, alone_to, &planned_to);
    size_t sent = 0;
    while (sent < count) {
      const int result = sendmmsg(fd, &messages_[sent], static_cast<unsigned>(count - sent), MSG_DONTWAIT);
      if (result < 0 && errno == EINTR) continue;
      if (result > 0) {
        for (const size_t to = sent + static_cast<size_t>(result); sent < to; sent++) {
          packets += runs_[sent].packets;
          bytes += runs_[sent].bytes;
          if (runs_[sent].segmented) state_->segmented_sends++;
        }
        continue;
      }
      const int failed = result < 0 ? -errno : -EIO;
      const Run& run = runs_[sent];
      if (failed == -EAGAIN || failed == -EBADF || failed == -ENOTSOCK) {
        error = failed;
        planned_to = run.first;
        break;
      }
      const bool earlier = MayBeEarlier(fd, failed);
      if (earlier && tried_again != run.first) {
        tried_again = run.first;
        continue;
      }
      if (run.segmented && RefusesSegments(failed)) {
        if (failed == -EIO) state_->gso = 0;
        alone_to = run.last;
        planned_to = run.first;
        break;
      }
      for (size_t i = run.first; i < run.last; i++) {
        TableEntry& entry = batch.entries()[i];
        if (entry.length != kDropped && entry.status == 0) entry.status = failed;
      }
      sent++;
    }
    next = planned_to;
  }
  for (size_t i = next; i < end; i++) {
    TableEntry& entry = batch.entries()[i];
    entry.status = entry.length == kDropped ? 0 : error;
  }
  TableHeader* header = batch.header();
  header->packets = packets;
  header->bytes = bytes;
  header->error = error;
  header->writer = 0;
}

int UdpPort::SendTo(int fd, const uint8_t* data, size_t length, const DatagramSlot& slot) {
  iovec piece{const_cast<uint8_t*>(data), length};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  PrepareSend(family_, slot, 0, &addresses_[0], control_.get(), &message);
  for (bool again = false;;) {
    if (sendmsg(fd, &message, MSG_DONTWAIT) >= 0) return 0;
    const int failed = -errno;
    if (failed == -EINTR) continue;
    if (failed == -EAGAIN) return failed;
    if (!MayBeEarlier(fd, failed) || again) return failed;
    again = true;
  }
}

}  // namespace tuntap
