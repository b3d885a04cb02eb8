#include "tunnel/shortcut.h"

#include <sys/timerfd.h>

#include <cstddef>
#include <cstring>
#include <utility>

#include "linux/clocks.h"

namespace tuntap {
namespace {

// So many milliseconds later JavaScript hears of what was carried: by then an answer has come and gone.
constexpr int64_t kDelay = 10;

}  // namespace

BatchForwarder Shortcut::ToSocket(std::shared_ptr<Shortcut> shortcut, Channel* socket) {
  return [shortcut = std::move(shortcut), socket](const BatchView& batch) {
    return shortcut->Send(batch, socket);
  };
}

BatchForwarder Shortcut::ToDevice(std::shared_ptr<Shortcut> shortcut, Channel* device,
                                  const DatagramEntry* received, size_t capacity) {
  return [shortcut = std::move(shortcut), device, received, capacity](const BatchView& batch) {
    return shortcut->Receive(batch, device, received, capacity);
  };
}

void Shortcut::SetSender(uint32_t peer, Sender sender) {
  if (senders_.size() <= peer) senders_.resize(size_t{peer} + 1);
  senders_[peer] = std::move(sender);
}

void Shortcut::RemoveSender(uint32_t peer) {
  if (peer < senders_.size()) senders_[peer] = {};
}

// Whether all runs can be sealed now; keeps their keys.
bool Shortcut::FindSenders(size_t runs, double now) {
  aeads_.clear();
  for (size_t i = 0; i < runs; i++) {
    const PacketRun& run = parts_.sent_runs[i];
    if (run.value >= senders_.size()) return false;
    const Sender& sender = senders_[run.value];
    // All up to the run's end are counted, since other runs may be of the same peer.
    const double packets = static_cast<double>(run.end) - static_cast<double>(parts_.sent_runs[0].start);
    if (sender.header.empty() || now >= sender.until || *sender.counter + packets > sender.counter_limit)
      return false;
    aeads_.push_back(sender.aead.lock());
    if (aeads_.back() == nullptr) return false;
  }
  return true;
}

Forwarded Shortcut::Send(const BatchView& batch, Channel* socket) {
  parts_.state[kShortcutSentRuns] = 0;
  const size_t count = batch.count();
  if (count == 0 || count > parts_.run_capacity || socket->fd() < 0) return {};
  const size_t runs = RunsByDestination(batch, 0, count, *parts_.prefixes, parts_.sent_runs);
  const double now = BootTime();
  if (runs > parts_.route_capacity || !FindSenders(runs, now)) {
    aeads_.clear();
    return {};
  }
  const Outcome before = batch.header()->outcome;
  const Padding padding{kShortcutPadding, parts_.state[kShortcutMtu]};
  for (size_t i = 0; i < runs; i++) {
    PacketRun& run = parts_.sent_runs[i];
    const Sender& sender = senders_[run.value];
    const Outcome sealed = aeads_[i]->Seal(batch, run.start, run.end, sender.header.data(),
                                           static_cast<uint64_t>(*sender.counter), padding);
    *sender.counter += run.end - run.start;
    run.bytes = sealed.bytes;
    DatagramEntry& route = parts_.routes[i];
    route = *sender.route;
    route.tos = static_cast<uint8_t>(run.ecn);
    route.flags |= kHasTos;
  }
  aeads_.clear();
  (void)socket->WriteTo(batch, 0, {parts_.routes, parts_.route_capacity, parts_.sent_runs, runs});
  if (!MayKeepBooks(batch, runs)) {
    Note(batch, kShortcutSentRuns, runs, before);
    return {};
  }
  for (size_t i = 0; i < runs; i++) {
    ShortcutBook& book = BookOf(parts_.sent_runs[i].value);
    book.sent_bytes += parts_.sent_runs[i].bytes;
    book.sent_at = now;
  }
  batch.Store(before);
  batch.Clear();
  return {false, false};
}

Forwarded Shortcut::Receive(const BatchView& batch, Channel* device, const DatagramEntry* received,
                            size_t capacity) {
  parts_.state[kShortcutReceivedRuns] = 0;
  const size_t count = batch.count();
  if (count == 0 || count > parts_.run_capacity || count > capacity || device->fd() < 0) return {};
  const double now = BootTime();
  if (!parts_.sessions->KnowAll(batch, now)) return {};
  const Outcome before = batch.header()->outcome;
  const size_t runs =
      parts_.sessions->Open(batch, 0, count, parts_.prefixes, received, now, parts_.received_runs);
  bool data = false;
  bool changes = false;
  for (size_t i = 0; i < runs; i++) {
    data = data || parts_.received_runs[i].data > 0;
    changes = changes || ChangesSender(parts_.received_runs[i], received);
  }
  if (data) device->Write(batch, 0);
  if (!data || changes || !MayKeepBooks(batch, runs)) {
    Note(batch, kShortcutReceivedRuns, runs, before);
    return {};
  }
  for (size_t i = 0; i < runs; i++) {
    const PacketRun& run = parts_.received_runs[i];
    if (run.last == kNoValue) continue;
    ShortcutBook& book = BookOf(run.value);
    book.received_bytes += run.bytes;
    book.received_at = now;
    if (run.data > 0) book.has_data = 1;
  }
  batch.Store(before);
  batch.Clear();
  return {false, true};
}

// Whether a run may change how answers to it are sent, which is JavaScript's to do: its peer moved, or sealed
// it by another keypair, whose first message confirms the keypair.
bool Shortcut::ChangesSender(const PacketRun& run, const DatagramEntry* received) const {
  if (run.last == kNoValue) return false;
  if (run.value >= senders_.size() || senders_[run.value].header.empty()) return true;
  const Sender& sender = senders_[run.value];
  return run.ecn != sender.session ||
         memcmp(sender.route, &received[run.last], offsetof(DatagramEntry, tos)) != 0;
}

// Leaves for JavaScript what became of the batch, and the header as if it had only been read.
void Shortcut::Note(const BatchView& batch, size_t first_word, size_t runs, const Outcome& before) {
  uint32_t* const words = parts_.state + first_word;
  words[0] = static_cast<uint32_t>(runs);
  words[1] = batch.header()->outcome.packets;
  words[2] = static_cast<uint32_t>(batch.header()->outcome.error);
  batch.Store(before);
}

// Whether the kernel took all of a batch, and there is room for its peers.
bool Shortcut::MayKeepBooks(const BatchView& batch, size_t runs) const {
  return batch.header()->outcome.packets == batch.count() &&
         parts_.state[kShortcutBooks] + runs <= parts_.book_capacity;
}

// The book of a peer that has a Sender; there is room for one.
ShortcutBook& Shortcut::BookOf(uint32_t peer) {
  Sender& sender = senders_[peer];
  uint32_t& count = parts_.state[kShortcutBooks];
  if (sender.book >= count || parts_.books[sender.book].peer != peer) {
    if (count == 0 && !parts_.timer->IsArmed(kReadable)) Later();
    sender.book = count++;
    parts_.books[sender.book] = {
        static_cast<double>(peer), static_cast<double>(sender.session), 0, 0, 0, 0, 0};
  }
  return parts_.books[sender.book];
}

void Shortcut::Later() {
  itimerspec delay{};
  delay.it_value.tv_nsec = kDelay * 1'000'000;
  if (timerfd_settime(parts_.timer->fd(), 0, &delay, nullptr) == 0) (void)parts_.timer->Arm(kReadable);
}

}  // namespace tuntap
