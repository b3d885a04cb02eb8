#include "udp_receiver.h"

#include <cerrno>

namespace tuntap {
namespace {

constexpr size_t kMaxDatagram = 65535;
constexpr size_t kPlainSize = 2048;    // a datagram of an Ethernet-sized path
constexpr uint32_t kPlainAgain = 16;   // plain messages in a row after which super-packets are not expected
constexpr size_t kMostExpected = 512;  // packets of one call: more leave the cache before they are used
constexpr int kMaxRetries = 16;

// Messages that fit, each laid out over `laid_out` bytes, whatever their size and number of segments turn out
// to be.
size_t Fits(const Appender& out, size_t laid_out) {
  if (!out.HasRoom(1, 0)) return 0;
  const size_t copied = kMaxDatagram + kMaxSegments * (out.margins().sum() + kSlotAlignment);
  return std::min((out.batch().capacity() - out.count()) / kMaxSegments,
                  (out.batch().size() - out.end()) / std::max(copied, laid_out));
}

}  // namespace

UdpReceiver::UdpReceiver(UdpState* state, DatagramEntry* received, size_t received_count, size_t max_size)
    : state_(state),
      received_(received),
      received_count_(received_count),
      max_size_(max_size),
      errors_(state),
      iovecs_(new iovec[kIovecs]),
      control_(new uint8_t[kReceivedMessages * kControlReceived]()),
      iovec_size_(kPlainSize) {}

// Appends packets of `segment` bytes, the last one may be shorter, whose bytes lie in the batch already: the
// first at `offset`, each next one `stride` further; `length` bytes in all.
void UdpReceiver::AppendInPlace(size_t offset, size_t stride, size_t segment, size_t length,
                                const DatagramEntry& info, Appender* out) const {
  // A copy each, since the compiler must assume that what is written here changes the others.
  DatagramEntry* const table = received_;
  BatchEntry* const entries = out->batch().entries();
  const size_t table_count = received_count_;
  const size_t capacity = out->batch().capacity();
  const size_t max_size = max_size_;
  const Margins margins = out->margins();
  size_t count = out->count();
  size_t bytes = 0;
  size_t end = out->end();
  // The capacity suffices, unless a kernel makes more segments than any does today.
  do {
    if (count >= capacity) break;
    const size_t part = std::min(segment, length);
    const size_t kept = std::min(part, max_size);
    if (count < table_count) {
      table[count] = info;
      if (kept < part) table[count].flags |= kTruncated;
    }
    entries[count++] = {static_cast<uint32_t>(offset), static_cast<uint32_t>(kept), 0,
                        static_cast<uint32_t>(offset) - margins.headroom};
    bytes += kept;
    end = offset + kept + margins.tailroom;
    offset += stride;
    length -= part;
  } while (length > 0);
  out->Advance(count - out->count(), bytes, end);
}

// The same of bytes that lie elsewhere.
void UdpReceiver::AppendCopy(const uint8_t* bytes, size_t segment, size_t length, const DatagramEntry& info,
                             Appender* out) const {
  do {
    const size_t part = std::min(segment, length);
    uint8_t* const packet = out->Reserve(part);
    if (packet == nullptr) return;  // Fits() has seen to it, as above
    memcpy(packet, bytes, std::min(part, max_size_));
    AppendInPlace(static_cast<size_t>(packet - out->batch().memory()), 0, part, part, info, out);
    bytes += part;
    length -= part;
  } while (length > 0);
}

// Lays out the messages of one recvmmsg(2); returns how many.
size_t UdpReceiver::PlanReceive(const Appender& out) {
  const Margins& margins = out.margins();
  whole_ = iovecs_per_message_ > 1 && margins.sum() == 0;
  const size_t size = whole_ ? kMaxDatagram : iovec_size_;
  const size_t iovecs = whole_ ? 1 : iovecs_per_message_;
  stride_ = AlignSlot(margins.sum() + size);
  const size_t count =
      std::min({Fits(out, iovecs * stride_), kReceivedMessages, kMostExpected / iovecs_per_message_});
  if (overflow_ == nullptr) overflow_.reset(new uint8_t[kReceivedMessages * kMaxDatagram]);

  iovec* next = iovecs_.get();
  uint8_t* place = out.batch().memory() + out.end() + margins.headroom;
  for (size_t i = 0; i < count; i++) {
    msghdr& header = messages_[i].msg_hdr;
    header.msg_iov = next;
    for (size_t k = 0; k < iovecs; k++, place += stride_) *next++ = {place, size};
    const size_t placed = size * iovecs;
    if (placed < kMaxDatagram) *next++ = {overflow_.get() + i * kMaxDatagram, kMaxDatagram - placed};
    header.msg_iovlen = static_cast<size_t>(next - header.msg_iov);
    header.msg_name = &addresses_[i];
    header.msg_namelen = sizeof(addresses_[i]);
    header.msg_control = control_.get() + i * kControlReceived;
    header.msg_controllen = kControlReceived;
    header.msg_flags = 0;
  }
  return count;
}

bool UdpReceiver::InPlace(size_t message, const ReceivedInfo& info) const {
  if (whole_) return true;
  const size_t length = messages_[message].msg_len;
  if (info.segment_size == 0) return length <= iovec_size_;
  return info.segment_size == iovec_size_ && length <= iovec_size_ * iovecs_per_message_;
}

// Copies what the iovecs of a message got to one place.
void UdpReceiver::CopyScattered(size_t message, uint8_t* to) const {
  const msghdr& header = messages_[message].msg_hdr;
  const auto count = static_cast<size_t>(header.msg_iovlen);  // an int in musl
  size_t left = messages_[message].msg_len;
  for (size_t k = 0; k < count && left > 0; k++) {
    const size_t length = std::min(header.msg_iov[k].iov_len, left);
    memcpy(to, header.msg_iov[k].iov_base, length);
    to += length;
    left -= length;
  }
}

// Expects more messages like this one.
void UdpReceiver::Predict(size_t segment_size) {
  if (segment_size == 0) {
    if (iovec_size_ == kPlainSize || ++plain_messages_ < kPlainAgain) return;
    iovec_size_ = kPlainSize;
    iovecs_per_message_ = 1;
    return;
  }
  plain_messages_ = 0;
  iovec_size_ = std::min(segment_size, kMaxDatagram);
  iovecs_per_message_ = std::min(kMaxSegments, (kMaxDatagram + iovec_size_ - 1) / iovec_size_);
}

void UdpReceiver::TakeReceived(size_t received, Appender* out) {
  // From the first message on that is not in place, all are copied out before any is put into the batch,
  // since its packets may need the places of the next.
  std::array<ReceivedInfo, kReceivedMessages> infos;
  size_t in_place = 0;
  bool together = true;
  for (size_t i = 0; i < received; i++) {
    ParseReceived(messages_[i].msg_hdr, &infos[i], &state_->drops);
    if (infos[i].segment_size != 0) state_->coalesced_reads++;
    together = together && InPlace(i, infos[i]);
    if (together) in_place++;
  }
  if (in_place < received && gathered_ == nullptr)
    gathered_.reset(new uint8_t[kReceivedMessages * kMaxDatagram]);
  for (size_t i = in_place; i < received; i++) CopyScattered(i, gathered_.get() + i * kMaxDatagram);

  for (size_t i = 0; i < received; i++) {
    const size_t length = messages_[i].msg_len;
    const size_t segment = infos[i].segment_size != 0 ? infos[i].segment_size : std::max<size_t>(length, 1);
    if (i < in_place) {
      const auto* bytes = static_cast<uint8_t*>(messages_[i].msg_hdr.msg_iov->iov_base);
      const auto offset = static_cast<size_t>(bytes - out->batch().memory());
      AppendInPlace(offset, whole_ ? segment : stride_, segment, length, infos[i].entry, out);
    } else {
      AppendCopy(gathered_.get() + i * kMaxDatagram, segment, length, infos[i].entry, out);
    }
  }
  for (size_t i = 0; i < received; i++) Predict(infos[i].segment_size);
}

Outcome UdpReceiver::Read(int fd, const BatchView& batch, Margins margins) {
  Appender out(batch, margins);
  int retries = 0;
  while (out.count() < kEnoughDatagrams) {
    const size_t asked = PlanReceive(out);
    if (asked == 0) break;
    const int received = recvmmsg(fd, messages_.data(), static_cast<unsigned>(asked), MSG_DONTWAIT, nullptr);
    if (received < 0) {
      const int error = -errno;
      // An error that came for a datagram sent earlier is told once in place of what there is to read.
      if (error == -EAGAIN || (error != -EINTR && !errors_.TakeEarlier(fd, error))) return out.Finish(error);
      if (retries++ < kMaxRetries) continue;
      return out.Finish(-EAGAIN);  // poll(2) tells of the rest
    }
    TakeReceived(static_cast<size_t>(received), &out);
    if (static_cast<size_t>(received) < asked) return out.Finish(-EAGAIN);
  }
  return out.Finish(0);
}

}  // namespace tuntap
