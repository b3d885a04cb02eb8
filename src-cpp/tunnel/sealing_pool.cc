#include "sealing_pool.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "linux/thread.h"

namespace tuntap {
namespace {

// A short packet ends a send. Behind so many packets it ends the piece as well, so that no send is cut in
// two.
constexpr size_t kEnoughPackets = 16;

}  // namespace

SealingPool::SealingPool(size_t few, size_t many) : jobs_(many), order_(many), few_(few), allowed_(few) {
  for (size_t i = 0; i < many; i++) free_.push_back(i);
}

int SealingPool::Create(size_t threads, size_t few, size_t many, std::unique_ptr<SealingPool>* out) {
  std::unique_ptr<SealingPool> pool(new SealingPool(few, many));
  pool->sealers_ = threads;
  for (size_t i = 0; i <= threads; i++) {
    auto worker = std::make_unique<Worker>(Worker{pool.get(), i, {}});
    const int error = StartThread(
        &worker->thread,
        [](void* argument) -> void* {
          const auto* started = static_cast<const Worker*>(argument);
          SealingPool* const pool = started->pool;
          started->number < pool->sealers_ ? pool->SealAll(started->number) : pool->SendAll();
          return nullptr;
        },
        worker.get());
    if (error < 0) return error;
    char name[16];
    (void)snprintf(name, sizeof(name), i < threads ? "seal-%u" : "send", static_cast<uint16_t>(i));
    (void)pthread_setname_np(worker->thread, name);
    pool->threads_.push_back(std::move(worker));
  }
  *out = std::move(pool);
  return 0;
}

SealingPool::~SealingPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  work_.notify_all();
  sealed_.notify_all();
  for (const auto& worker : threads_) pthread_join(worker->thread, nullptr);
}

void SealingPool::WaitUntilSent(uint64_t job) {
  std::unique_lock<std::mutex> lock(mutex_);
  sent_.wait(lock, [&] {
    owner_waits_ = to_send_.job < job;
    return !owner_waits_;
  });
}

void SealingPool::UseSocket(std::unique_ptr<SealedSocket> socket) {
  WaitUntilSent(handed_over_);
  socket_ = std::move(socket);
}

size_t SealingPool::Begin() {
  next_runs_.clear();
  return WaitForPlace();
}

size_t SealingPool::WaitForPlace() {
  if (place_ != kNoPlace) return place_;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!HasPlace()) CallIdle(&lock);
  sent_.wait(lock, [this] {
    owner_waits_ = !HasPlace();
    return !owner_waits_;
  });
  place_ = free_.back();
  free_.pop_back();
  return place_;
}

bool SealingPool::Idle() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return to_send_.job == handed_over_;
}

void SealingPool::Seal(Run run) { next_runs_.push_back(std::move(run)); }

void SealingPool::Send(const BatchView& batch, const PacketRun* rows, size_t row_count,
                       const DatagramEntry* entries) {
  const size_t place = WaitForPlace();
  Job& job = jobs_[place];
  job.batch = batch;
  job.runs.swap(next_runs_);
  job.rows.assign(rows, rows + row_count);
  job.entries.assign(entries, entries + row_count);
  Cut(&job);
  if (job.pieces.empty()) {
    job.runs.clear();
    return;
  }
  bool wakes = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    order_[handed_over_++ % order_.size()] = place;
    place_ = kNoPlace;
    unsealed_ += job.pieces.size();
    wakes = CallSealer();
  }
  if (wakes) work_.notify_one();
}

void SealingPool::Cut(Job* job) {
  job->pieces.clear();
  const BatchEntry* const entries = job->batch.entries();
  size_t bytes = 0;
  size_t before = 0;  // the length of the packet before
  for (const Run& run : job->runs) {
    const size_t around = run.header.size() + Aead::kTagSize;
    for (uint32_t i = run.start; i < run.end; i++) {
      if (entries[i].length == kDropped) continue;
      const size_t length = around + entries[i].length + run.padding.After(entries[i].length);
      const size_t packets = job->pieces.empty() ? 0 : i - job->pieces.back().start;
      const bool ends = packets >= UdpSender::kMaxRunPackets || bytes + length > UdpSender::kMaxPayloadIpv4 ||
                        (packets >= kEnoughPackets && length > before);
      if (job->pieces.empty() || ends) {
        job->pieces.push_back({i, i, false});
        bytes = 0;
      }
      job->pieces.back().end = i + 1;
      bytes += length;
      before = length;
    }
  }
}

void SealingPool::SealPiece(const Job& job, const Piece& piece, size_t context) {
  for (const Run& run : job.runs) {
    const uint32_t start = std::max(run.start, piece.start);
    const uint32_t end = std::min(run.end, piece.end);
    if (start >= end) continue;
    (void)run.aead->Seal(job.batch, start, end, run.header.data(), run.counter + (start - run.start),
                         run.padding, context);
  }
}

void SealingPool::Advance(Position* position, size_t pieces) {
  position->piece += pieces;
  if (position->piece < JobAt(position->job).pieces.size()) return;
  position->job++;
  position->piece = 0;
}

// Wakes who waits on `condition`, without the lock: a thread that loses its core mostly does so as it comes
// back from a system call.
void SealingPool::Wake(bool* waits, std::condition_variable* condition, std::unique_lock<std::mutex>* lock) {
  if (!std::exchange(*waits, false)) return;
  lock->unlock();
  condition->notify_one();
  lock->lock();
}

// Whether the owner may hand over one more batch. Many may be at work while the sender and a sealing thread
// have nothing to do, since a piece is with a thread that lost its core.
bool SealingPool::HasPlace() {
  const size_t at_work = handed_over_ - to_send_.job;
  if (at_work >= allowed_ && sender_waits_ && idle_ > 0 && unsealed_ == 0) allowed_ = jobs_.size();
  return at_work < allowed_;
}

// Wakes the owner if it waits for a place and there is one.
void SealingPool::TellOwner(std::unique_lock<std::mutex>* lock) {
  if (owner_waits_ && HasPlace()) Wake(&owner_waits_, &sent_, lock);
}

void SealingPool::SealAll(size_t thread) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    while (!stopped_ && unsealed_ == 0) {
      idle_++;
      TellOwner(&lock);
      work_.wait(lock, [this] { return stopped_ || called_ > 0; });
      if (called_ > 0) called_--;
    }
    if (stopped_) return;
    SealNext(thread, &lock);
    if (CanSend()) Wake(&sender_waits_, &sealed_, &lock);
  }
}

void SealingPool::SendAll() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    while (!stopped_ && !CanSend()) {
      sender_waits_ = true;
      TellOwner(&lock);
      if (sender_waits_ && !stopped_) sealed_.wait(lock);
    }
    if (stopped_) return;
    SendNext(&lock);
  }
}

bool SealingPool::CanSend() {
  return to_send_.job < handed_over_ && JobAt(to_send_.job).pieces[to_send_.piece].sealed;
}

// Has `count` threads wake up, or all that wait. Returns how many are to be notified.
size_t SealingPool::Call(size_t count) {
  const size_t calls = std::min(idle_, count);
  idle_ -= calls;
  called_ += calls;
  return calls;
}

// Whether one more thread is to be notified: if more than one piece for two threads that are up waits. To
// wake one costs about as much as to seal a piece, and those that are up take the next pieces soon.
bool SealingPool::CallSealer() { return 2 * unsealed_ > sealers_ - idle_ && Call(1) > 0; }

// Wakes a thread for each piece that waits: those that are up may all have lost their cores.
void SealingPool::CallIdle(std::unique_lock<std::mutex>* lock) {
  const size_t calls = Call(unsealed_ - std::min(unsealed_, called_));
  if (calls == 0) return;
  lock->unlock();
  for (size_t i = 0; i < calls; i++) work_.notify_one();
  lock->lock();
}

void SealingPool::SealNext(size_t thread, std::unique_lock<std::mutex>* lock) {
  Job& job = JobAt(to_seal_.job);
  Piece& piece = job.pieces[to_seal_.piece];
  Advance(&to_seal_, 1);
  unsealed_--;
  TellOwner(lock);
  const bool calls = CallSealer();
  lock->unlock();
  if (calls) work_.notify_one();
  SealPiece(job, piece, 1 + thread);
  lock->lock();
  piece.sealed = true;
}

// Sends the pieces of one batch that are sealed and next in order.
void SealingPool::SendNext(std::unique_lock<std::mutex>* lock) {
  Job& job = JobAt(to_send_.job);
  const size_t first = to_send_.piece;
  size_t end = first;
  while (end < job.pieces.size() && job.pieces[end].sealed) end++;
  const uint32_t packets_end = job.pieces[end - 1].end;
  const bool all = end == job.pieces.size();
  lock->unlock();
  if (socket_ != nullptr) {
    socket_->Send(job.batch, job.pieces[first].start, packets_end,
                  {job.entries.data(), job.entries.size(), job.rows.data(), job.rows.size()});
  }
  if (all) job.runs.clear();  // the last user of a key that was disposed of wipes it
  lock->lock();
  if (all) free_.push_back(order_[to_send_.job % order_.size()]);
  Advance(&to_send_, end - first);
  if (!all) return;
  if (handed_over_ == to_send_.job) allowed_ = few_;
  Wake(&owner_waits_, &sent_, lock);
}

}  // namespace tuntap
