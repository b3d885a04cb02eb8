#include "udp_sender.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace tuntap {
namespace {

const DatagramEntry kConnectedPeer{};

bool SameEntry(const DatagramEntry& one, const DatagramEntry& other) {
  return &one == &other || memcmp(&one, &other, sizeof(one)) == 0;
}

// sendmmsg(2) without the C library: that of musl sends message by message, since it has to clear the padding
// of headers. Those that this file makes were cleared when they were allocated.
int SendMessages(int fd, mmsghdr* messages, size_t count) {
  return static_cast<int>(syscall(SYS_sendmmsg, fd, messages, static_cast<unsigned>(count), MSG_DONTWAIT));
}

// What the next attempt packet by packet may succeed at: no checksum offload on the way out, or IPsec (EIO);
// segments that exceed the MTU (EMSGSIZE, EINVAL before Linux 6.12 or so).
bool RefusesSegments(int error) { return error == -EIO || error == -EINVAL || error == -EMSGSIZE; }

// The kernel has no route, so the next datagram to the same remote has none either.
bool IsUnreachable(int error) { return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES; }

}  // namespace

UdpSender::UdpSender(int family, UdpState* state)
    : family_(family),
      state_(state),
      errors_(state),
      iovecs_(new iovec[kMaxIovec]),
      control_(new uint8_t[kMessages * kControlSize]()) {}

// The packet's entry, or nullptr if there is none.
const DatagramEntry* UdpSender::EntryOf(const Remotes& remotes, size_t packet) {
  if (remotes.entries == nullptr) return &kConnectedPeer;
  size_t index = packet;
  if (remotes.runs != nullptr) {
    if (entry_run_ >= remotes.run_count || remotes.runs[entry_run_].start > packet) entry_run_ = 0;
    while (entry_run_ < remotes.run_count && remotes.runs[entry_run_].end <= packet) entry_run_++;
    if (entry_run_ == remotes.run_count) return nullptr;
    index = entry_run_;
  }
  if (remotes.count == 1 && remotes.runs == nullptr) index = 0;
  return index < remotes.count ? &remotes.entries[index] : nullptr;
}

Refusal& UdpSender::RouteOf(const DatagramEntry& entry) {
  const std::string_view remote(reinterpret_cast<const char*>(entry.remote), sizeof(entry.remote));
  return unsegmented_[std::hash<std::string_view>{}(remote) % kRoutes];
}

// Whether the last call, too, found that remote unreachable: then the error is not an earlier datagram's.
bool UdpSender::IsRefusedAgain(const DatagramEntry& entry, int error) {
  const bool again = error != 0 && error == unreachable_error_ && SameEntry(entry, unreachable_);
  unreachable_error_ = IsUnreachable(error) ? error : 0;
  if (unreachable_error_ != 0) unreachable_ = entry;
  return again;
}

// Adds packets to a run from packet `next` on, their places to `iovecs_` from index `filled` on. Returns how
// many iovecs are filled then.
size_t UdpSender::ExtendRun(const BatchView& batch, size_t next, size_t end, const Remotes& remotes,
                            bool segmented, size_t filled, Run* run) {
  *run = {next, next, nullptr, 0, 0, false};
  // A copy each, since the compiler must assume that what is written here changes the others.
  const BatchView view = batch;
  BatchEntry* const entries = batch.entries();
  iovec* const iovecs = iovecs_.get();
  const size_t first = filled;
  size_t most = std::min(kMaxIovec, first + (segmented ? kMaxRunPackets : 1));
  const DatagramEntry* remote = nullptr;
  size_t segment = 0;
  size_t left = 0;  // bytes that the run can still take
  size_t i = next;
  bool shorter = false;
  for (; i < end && filled < most && !shorter; i++) {
    BatchEntry& entry = entries[i];
    const size_t offset = entry.offset;
    const size_t length = entry.length;
    const DatagramEntry* const to = length == kDropped ? nullptr : EntryOf(remotes, i);
    const bool valid = to != nullptr && view.Contains(offset, length);
    if (!valid) {
      if (length != kDropped && remote != nullptr) break;
      entry.status = length == kDropped ? 0 : -EFAULT;
      continue;
    }
    if (remote == nullptr) {
      remote = to;
      segment = length;
      left = FamilyOf(*remote, PeerFamily()) == AF_INET6 ? kMaxPayloadIpv6 : kMaxPayloadIpv4;
      left = std::max(left, length);  // a packet that is too long is sent alone, and refused
      if (any_unsegmented_ && RouteOf(*remote).holds()) most = first + 1;
    } else if (length == 0 || length > segment || length > left || !SameEntry(*remote, *to)) {
      break;
    }
    entry.status = 0;
    iovecs[filled++] = {view.memory() + offset, length};
    left -= length;
    shorter = length < segment || length == 0;  // an empty datagram is no segment
    run->bytes += static_cast<uint32_t>(length);
  }
  run->last = i;
  run->entry = remote;
  run->packets = static_cast<uint32_t>(filled - first);
  run->segmented = run->packets > 1;
  return filled;
}

// Lays out the messages of one sendmmsg(2) from packet `next` on; returns how many.
size_t UdpSender::PlanSend(const BatchView& batch, size_t next, size_t end, const Remotes& remotes,
                           size_t unsegmented_until, size_t* planned_until) {
  size_t count = 0;
  size_t filled = 0;
  while (next < end && count < kMessages && filled < kMaxIovec) {
    Run& run = runs_[count];
    const size_t first = filled;
    filled =
        ExtendRun(batch, next, end, remotes, state_->gso != 0 && next >= unsegmented_until, filled, &run);
    next = run.last;
    if (run.packets == 0) continue;
    msghdr& header = messages_[count].msg_hdr;
    header.msg_iov = &iovecs_[first];
    header.msg_iovlen = filled - first;
    const auto segment = static_cast<uint16_t>(run.segmented ? iovecs_[first].iov_len : 0);
    PrepareSend(family_, PeerFamily(), *run.entry, segment, &addresses_[count],
                control_.get() + count * kControlSize, &header);
    count++;
  }
  *planned_until = next;
  return count;
}

Outcome UdpSender::WriteTo(int fd, const BatchView& batch, size_t start, size_t end, const Remotes& remotes) {
  Outcome outcome;
  BatchEntry* const entries = batch.entries();
  EarlierErrors earlier(&errors_);
  size_t next = start;
  size_t unsegmented_until = start;
  while (next < end && outcome.error == 0) {
    size_t planned_until = next;
    const size_t count = PlanSend(batch, next, end, remotes, unsegmented_until, &planned_until);
    size_t sent = 0;
    while (sent < count) {
      const Run& run = runs_[sent];
      const int result = SendMessages(fd, &messages_[sent], count - sent);
      const int error = result > 0 ? 0 : result < 0 ? -errno : -EIO;
      if (earlier.TryAgain(error, IsRefusedAgain(*run.entry, error))) continue;
      if (error == 0) {
        for (const size_t to = sent + static_cast<size_t>(result); sent < to; sent++) {
          outcome.packets += runs_[sent].packets;
          outcome.bytes += runs_[sent].bytes;
          if (runs_[sent].segmented) state_->segmented_sends++;
        }
      } else if (error == -EAGAIN || error == -EBADF || error == -ENOTSOCK) {
        outcome.error = error;
        planned_until = run.first;
        break;
      } else if (run.segmented && RefusesSegments(error)) {
        if (error == -EIO) {
          RouteOf(*run.entry).Note();
          any_unsegmented_ = true;
        }
        unsegmented_until = run.last;
        planned_until = run.first;
        break;
      } else {
        const size_t refused = sent++;
        if (unreachable_error_ != 0) {
          while (sent < count && SameEntry(*runs_[sent].entry, unreachable_)) sent++;
        }
        for (size_t i = runs_[refused].first; i < runs_[sent - 1].last; i++) {
          if (entries[i].length != kDropped && entries[i].status == 0) entries[i].status = error;
        }
      }
    }
    next = planned_until;
  }
  for (size_t i = next; i < end; i++) entries[i].status = entries[i].length == kDropped ? 0 : outcome.error;
  earlier.Report(fd);
  return outcome;
}

int UdpSender::SendTo(int fd, const uint8_t* data, size_t length, const DatagramEntry& entry) {
  iovec bytes{const_cast<uint8_t*>(data), length};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  PrepareSend(family_, PeerFamily(), entry, 0, &addresses_[0], control_.get(), &message);
  EarlierErrors earlier(&errors_);
  int error;
  do {
    error = sendmsg(fd, &message, MSG_DONTWAIT) >= 0 ? 0 : -errno;
  } while (earlier.TryAgain(error, IsRefusedAgain(entry, error)));
  earlier.Report(fd);
  return error;
}

}  // namespace tuntap
