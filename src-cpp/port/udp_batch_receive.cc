#include <algorithm>
#include <cerrno>
#include <cstring>

#include "udp_batch.h"

// Receiving: a message's pieces lie where its packets belong if they have the size that the last ones had, so
// that the kernel's copy is the only one. Without room around the packets a super-packet is in place as it
// is.

namespace tuntap {
namespace {

constexpr size_t kMaxDatagram = 65535;
constexpr size_t kPlainPiece = 2048;  // a datagram of an Ethernet-sized path
constexpr uint32_t kPlainAgain = 16;  // plain messages in a row after which super-packets are not expected
constexpr size_t kEnoughPackets = 256;
constexpr size_t kMostExpected = 512;  // packets of one call: more leave the cache before they are used
constexpr int kMaxRetries = 16;

size_t AlignUp(size_t value) { return (value + 7) & ~size_t{7}; }

}  // namespace

// Appends packets to a batch and what accompanies them to the table.
class UdpPort::Appender {
 public:
  Appender(const Batch& batch, Room room, DatagramSlot* table, size_t table_count, size_t max_size)
      : batch_(batch),
        room_(room),
        table_(table),
        table_count_(table_count),
        max_size_(max_size),
        count_(batch.header()->count),
        slot_(batch.header()->end) {}

  size_t count() const { return count_; }
  size_t slot() const { return slot_; }

  // Messages that fit, each laid out over `laid_out` bytes, whatever their size and number of segments turn
  // out to be.
  size_t Fits(size_t laid_out) const {
    if (count_ >= batch_.capacity() || slot_ >= batch_.size()) return 0;
    const size_t copied = kMaxDatagram + kMaxSegments * (size_t{room_.headroom} + room_.tailroom + 8);
    return std::min((batch_.capacity() - count_) / kMaxSegments,
                    (batch_.size() - slot_) / std::max(copied, laid_out));
  }

  // Packets of `segment` bytes, the last one may be shorter, whose bytes lie in the batch already: the first
  // at `offset`, each next one `stride` further; `length` bytes in all.
  void AddInPlace(size_t offset, size_t stride, size_t segment, size_t length, const DatagramSlot& info) {
    // A copy each, since the compiler must assume that what is written here changes the others.
    DatagramSlot* const table = table_;
    TableEntry* const entries = batch_.entries();
    const size_t table_count = table_count_;
    const size_t capacity = batch_.capacity();
    const size_t max_size = max_size_;
    const uint32_t headroom = room_.headroom;
    size_t count = count_;
    uint32_t bytes = 0;
    size_t end = slot_;
    // The capacity suffices, unless a kernel makes more segments than any does today.
    do {
      if (count >= capacity) break;
      const size_t part = std::min(segment, length);
      const auto kept = static_cast<uint32_t>(std::min(part, max_size));
      if (count < table_count) {
        table[count] = info;
        if (kept < part) table[count].flags |= kTruncated;
      }
      entries[count++] = {static_cast<uint32_t>(offset), kept, 0, static_cast<uint32_t>(offset) - headroom};
      bytes += kept;
      end = offset + kept + room_.tailroom;
      offset += stride;
      length -= part;
    } while (length > 0);
    slot_ = std::min(AlignUp(end), batch_.size());
    packets_ += static_cast<uint32_t>(count - count_);
    bytes_ += bytes;
    count_ = count;
  }

  // The same of bytes that lie elsewhere.
  void AddCopy(const uint8_t* bytes, size_t segment, size_t length, const DatagramSlot& info) {
    do {
      const size_t part = std::min(segment, length);
      const size_t offset = slot_ + room_.headroom;
      // Fits() has seen to it, as above.
      if (count_ >= batch_.capacity() || offset + part + room_.tailroom > batch_.size()) return;
      memcpy(batch_.memory() + offset, bytes, std::min(part, max_size_));
      AddInPlace(offset, 0, part, part, info);
      bytes += part;
      length -= part;
    } while (length > 0);
  }

  void Finish(int error) const {
    TableHeader* header = batch_.header();
    header->count = static_cast<uint32_t>(count_);
    header->end = static_cast<uint32_t>(slot_);
    header->packets = packets_;
    header->bytes = bytes_;
    header->error = error;
  }

 private:
  const Batch& batch_;
  const Room room_;
  DatagramSlot* const table_;
  const size_t table_count_;
  const size_t max_size_;
  size_t count_;
  size_t slot_;
  uint32_t packets_ = 0;
  uint32_t bytes_ = 0;
};

UdpPort::UdpPort(int family, UdpState* state, DatagramSlot* received, size_t received_count, size_t max_size)
    : family_(family),
      state_(state),
      received_(received),
      received_count_(received_count),
      max_size_(max_size),
      pieces_(new iovec[kPieces]),
      control_(new uint8_t[std::max(kSent * kControlSize, kReceived * kControlReceived)]()),
      piece_size_(kPlainPiece) {}

// Lays out the messages of one recvmmsg(2); returns how many.
size_t UdpPort::PlanReceive(const Batch& batch, const Appender& out, Room room) {
  whole_ = pieces_per_message_ > 1 && room.headroom + room.tailroom == 0;
  const size_t piece_size = whole_ ? kMaxDatagram : piece_size_;
  const size_t pieces = whole_ ? 1 : pieces_per_message_;
  stride_ = AlignUp(size_t{room.headroom} + piece_size + room.tailroom);
  const size_t count = std::min({out.Fits(pieces * stride_), kReceived, kMostExpected / pieces_per_message_});
  if (overflow_ == nullptr) overflow_.reset(new uint8_t[kReceived * kMaxDatagram]);

  iovec* piece = pieces_.get();
  size_t offset = out.slot() + room.headroom;
  for (size_t i = 0; i < count; i++) {
    msghdr& header = messages_[i].msg_hdr;
    header.msg_iov = piece;
    for (size_t k = 0; k < pieces; k++, offset += stride_) *piece++ = {batch.memory() + offset, piece_size};
    const size_t placed = piece_size * pieces;
    if (placed < kMaxDatagram) *piece++ = {overflow_.get() + i * kMaxDatagram, kMaxDatagram - placed};
    header.msg_iovlen = static_cast<size_t>(piece - header.msg_iov);
    header.msg_name = &addresses_[i];
    header.msg_namelen = sizeof(addresses_[i]);
    header.msg_control = control_.get() + i * kControlReceived;
    header.msg_controllen = kControlReceived;
    header.msg_flags = 0;
  }
  return count;
}

bool UdpPort::InPlace(size_t message, const ReceivedInfo& info) const {
  if (whole_) return true;
  const size_t length = messages_[message].msg_len;
  if (info.segment_size == 0) return length <= piece_size_;
  return info.segment_size == piece_size_ && length <= piece_size_ * pieces_per_message_;
}

// Copies a message's pieces to one place.
void UdpPort::Gather(size_t message, uint8_t* to) const {
  const msghdr& header = messages_[message].msg_hdr;
  size_t left = messages_[message].msg_len;
  for (size_t k = 0; k < header.msg_iovlen && left > 0; k++) {
    const size_t length = std::min(header.msg_iov[k].iov_len, left);
    memcpy(to, header.msg_iov[k].iov_base, length);
    to += length;
    left -= length;
  }
}

// Expects more messages like this one.
void UdpPort::Predict(size_t segment_size) {
  if (segment_size == 0) {
    if (piece_size_ == kPlainPiece || ++plain_messages_ < kPlainAgain) return;
    piece_size_ = kPlainPiece;
    pieces_per_message_ = 1;
    return;
  }
  plain_messages_ = 0;
  piece_size_ = std::min(segment_size, kMaxDatagram);
  pieces_per_message_ = std::min(kMaxSegments, (kMaxDatagram + piece_size_ - 1) / piece_size_);
}

void UdpPort::TakeReceived(const Batch& batch, size_t received, Appender* out) {
  // From the first message on that is not in place, all are copied out before any is put into the batch,
  // since its packets may need the places of the next.
  std::array<ReceivedInfo, kReceived> infos;
  size_t in_place = 0;
  bool together = true;
  for (size_t i = 0; i < received; i++) {
    ParseReceived(messages_[i].msg_hdr, &infos[i], &state_->drops);
    if (infos[i].segment_size != 0) state_->coalesced_reads++;
    together = together && InPlace(i, infos[i]);
    if (together) in_place++;
  }
  if (in_place < received && gathered_ == nullptr) gathered_.reset(new uint8_t[kReceived * kMaxDatagram]);
  for (size_t i = in_place; i < received; i++) Gather(i, gathered_.get() + i * kMaxDatagram);

  for (size_t i = 0; i < received; i++) {
    const size_t length = messages_[i].msg_len;
    const size_t segment = infos[i].segment_size != 0 ? infos[i].segment_size : std::max<size_t>(length, 1);
    if (i < in_place) {
      const auto* bytes = static_cast<uint8_t*>(messages_[i].msg_hdr.msg_iov->iov_base);
      const auto offset = static_cast<size_t>(bytes - batch.memory());
      out->AddInPlace(offset, whole_ ? segment : stride_, segment, length, infos[i].slot);
    } else {
      out->AddCopy(gathered_.get() + i * kMaxDatagram, segment, length, infos[i].slot);
    }
  }
  for (size_t i = 0; i < received; i++) Predict(infos[i].segment_size);
}

void UdpPort::Read(int fd, const Batch& batch, Room room) {
  Appender out(batch, room, received_, received_count_, max_size_);
  int error = 0;
  int retries = 0;
  while (out.count() < kEnoughPackets) {
    const size_t asked = PlanReceive(batch, out, room);
    if (asked == 0) break;
    const int received = recvmmsg(fd, messages_.data(), static_cast<unsigned>(asked), MSG_DONTWAIT, nullptr);
    if (received < 0) {
      error = -errno;
      if (error == -EAGAIN) break;
      // An error that came for a datagram sent earlier is told once in place of what there is to read.
      if (error != -EINTR && !DrainErrors(fd)) {
        if (!IsIcmpError(error)) break;
        RecordAlone(error);  // the kernel had no memory for more
      }
      error = 0;
      if (retries++ < kMaxRetries) continue;
      error = -EAGAIN;  // poll(2) tells of the rest
      break;
    }
    TakeReceived(batch, static_cast<size_t>(received), &out);
    if (static_cast<size_t>(received) < asked) {
      error = -EAGAIN;
      break;
    }
  }
  out.Finish(error);
}

bool UdpPort::DrainErrors(int fd) {
  bool any = false;
  SocketErrorRecord record;
  while (ReceiveError(fd, &record) == 0) {
    // The kernel tells of what it refused to send right then, too; no later call fails for that.
    if (record.origin != kOriginLocal) any = true;
    Record(record);
  }
  return TakePendingError(fd) || any;
}

// The socket's pending error; most often the error queue had more to say of it.
bool UdpPort::TakePendingError(int fd) {
  int pending = 0;
  socklen_t length = sizeof(pending);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length) != 0 || pending == 0) return false;
  RecordAlone(-pending);
  return true;
}

void UdpPort::RecordAlone(int error) {
  SocketErrorRecord record{};
  record.error = error;
  Record(record);
}

void UdpPort::Record(const SocketErrorRecord& record) {
  const uint32_t count = state_->error_count;
  const bool again = record.origin == kOriginLocal && count > 0 && count <= UdpState::kErrors &&
                     memcmp(&state_->errors[count - 1], &record, sizeof(record)) == 0;
  if (again) return;
  if (state_->error_count >= UdpState::kErrors) {
    state_->errors_lost++;
    return;
  }
  state_->errors[state_->error_count++] = record;
}

}  // namespace tuntap
