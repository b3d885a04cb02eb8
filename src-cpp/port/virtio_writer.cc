#include "virtio_writer.h"

#include <sys/uio.h>

#include <algorithm>
#include <atomic>

#include "linux/uninterrupted.h"

namespace tuntap {
namespace {

int WriteVector(int fd, const Coalescer::Write& write) {
  const ssize_t written = Uninterrupted([&] { return writev(fd, write.slices, write.count); });
  return static_cast<int>(std::min<ssize_t>(written, 0));
}

// No two writers of a process have the same, so that a batch never takes one for another.
uint32_t NextId() {
  static std::atomic<uint32_t> last{0};
  return ++last;
}

void Settle(BatchEntry* entry, int result, Outcome* outcome) {
  if (result == 0) {
    entry->status = kAlreadySent;  // Write() makes it 0 unless -EAGAIN follows
    outcome->Count(entry->length);
  } else {
    entry->status = result;
    if (StopsWriting(result)) outcome->error = result;
  }
}

}  // namespace

VirtioWriter::VirtioWriter(LinkLayer link, CoalescedProtocols protocols, size_t header_size)
    : id_(NextId()), link_(link), protocols_(protocols), header_size_(header_size) {}

// Whether this is the rest of a write of ours: from its first unsent packet on, or from a later one.
bool VirtioWriter::Resumes(const BatchView& batch, size_t start) const {
  if (batch.header()->outcome.writer != id_) return false;
  const size_t searched = std::min(start + 1, batch.count());
  return std::any_of(batch.entries(), batch.entries() + searched,
                     [](const BatchEntry& entry) { return entry.status == -EAGAIN; });
}

Outcome VirtioWriter::Write(int fd, const BatchView& batch, size_t start) {
  if (coalescer_ == nullptr) coalescer_ = std::make_unique<Coalescer>(header_size_);
  const bool resumes = Resumes(batch, start);
  const size_t count = batch.count() - start;
  BatchEntry* const entries = batch.entries() + start;
  packets_.resize(std::max(packets_.size(), count));
  for (size_t i = 0; i < count; i++) {
    int32_t& status = entries[i].status;
    packets_[i] = {nullptr, 0};
    if (resumes && status == kAlreadySent) continue;
    const int64_t length = batch.Packet(start + i, &packets_[i].data);
    status = length < 0 ? static_cast<int32_t>(length) : 0;
    if (length > 0) packets_[i].length = static_cast<size_t>(length);
  }
  CoalescedProtocols protocols{};
  if (count > 1)
    protocols = {protocols_.tcp && !tcp_refused_.holds(), protocols_.udp && !udp_refused_.holds()};
  const size_t groups = coalescer_->Plan(packets_.data(), count, link_, protocols);
  Outcome outcome;
  for (size_t i = 0; i < groups; i++) WriteGroup(fd, i, entries, &outcome);
  if (outcome.error == -EAGAIN) {
    outcome.writer = id_;
  } else {
    for (size_t i = 0; i < count; i++) entries[i].status = std::min(entries[i].status, 0);
  }
  return outcome;
}

void VirtioWriter::WriteGroup(int fd, size_t group, BatchEntry* entries, Outcome* outcome) {
  const int result = outcome->error != 0 ? outcome->error : WriteVector(fd, coalescer_->Prepare(group));
  // EIO: the link is down, for every packet.
  const bool split =
      coalescer_->PacketCount(group) > 1 && result != 0 && !StopsWriting(result) && result != -EIO;
  bool taken = false;
  for (uint32_t i = coalescer_->FirstPacket(group); i != Coalescer::kNoPacket;
       i = coalescer_->NextPacket(i)) {
    int own = split ? outcome->error : result;
    if (split && own == 0) own = WriteVector(fd, coalescer_->PrepareSingle(i));
    Settle(&entries[i], own, outcome);
    taken = taken || own == 0;
  }
  // The kernel does not know this kind (before Linux 6.2: UDP), or has a bug (6.6.44): the next ones are not
  // coalesced. Another error, such as ENOBUFS, passes.
  if (split && taken && result == -EINVAL) (coalescer_->IsUdp(group) ? udp_refused_ : tcp_refused_).Note();
}

}  // namespace tuntap
