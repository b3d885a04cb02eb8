#include "sealing_pool.h"

#include <algorithm>
#include <cstdio>

#include "linux/thread.h"

namespace tuntap {
namespace {

// A short packet ends a send. Behind so many packets it ends the piece as well, so that no send is cut in
// two.
constexpr size_t kEnoughPackets = 16;

}  // namespace

SealingPool::SealingPool(size_t batches) : jobs_(batches), order_(batches) {
  for (size_t i = 0; i < batches; i++) free_.push_back(i);
}

int SealingPool::Create(size_t threads, size_t batches, std::unique_ptr<SealingPool>* out) {
  std::unique_ptr<SealingPool> pool(new SealingPool(batches));
  for (size_t i = 0; i < threads; i++) {
    auto worker = std::make_unique<Worker>(Worker{pool.get(), i, {}});
    const int error = StartThread(
        &worker->thread,
        [](void* argument) -> void* {
          const auto* started = static_cast<Worker*>(argument);
          started->pool->Work(started->number);
          return nullptr;
        },
        worker.get());
    if (error < 0) return error;
    char name[16];
    (void)snprintf(name, sizeof(name), "seal-%u", static_cast<uint16_t>(i));
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
  for (const auto& worker : threads_) pthread_join(worker->thread, nullptr);
}

void SealingPool::WaitUntilSent(uint64_t job) {
  std::unique_lock<std::mutex> lock(mutex_);
  sent_.wait(lock, [&] { return to_send_.job >= job; });
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
  sent_.wait(lock, [this] { return !free_.empty(); });
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
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    order_[handed_over_++ % order_.size()] = place;
    place_ = kNoPlace;
  }
  if (job.pieces.size() == 1)
    work_.notify_one();
  else
    work_.notify_all();
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

// Each thread sends as many pieces as it seals, while there are any to seal. If one of them sent them all,
// the others would wait whenever that one is off its core.
void SealingPool::Work(size_t thread) {
  ptrdiff_t may_send = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopped_ || CanSend() || Waits(to_seal_); });
    if (stopped_) return;
    if (CanSend() && (may_send > 0 || !Waits(to_seal_))) {
      may_send = std::max<ptrdiff_t>(may_send, 0) - SendNext(&lock);
    } else {
      SealNext(thread, &lock);
      may_send++;
    }
  }
}

bool SealingPool::CanSend() {
  return !sending_ && Waits(to_send_) && JobAt(to_send_.job).pieces[to_send_.piece].sealed;
}

void SealingPool::SealNext(size_t thread, std::unique_lock<std::mutex>* lock) {
  Job& job = JobAt(to_seal_.job);
  Piece& piece = job.pieces[to_seal_.piece];
  Advance(&to_seal_, 1);
  lock->unlock();
  SealPiece(job, piece, 1 + thread);
  lock->lock();
  piece.sealed = true;
}

// Sends the pieces of one batch that are sealed and next in order; returns how many.
ptrdiff_t SealingPool::SendNext(std::unique_lock<std::mutex>* lock) {
  Job& job = JobAt(to_send_.job);
  const size_t first = to_send_.piece;
  size_t end = first;
  while (end < job.pieces.size() && job.pieces[end].sealed) end++;
  const uint32_t packets_end = job.pieces[end - 1].end;
  const bool all = end == job.pieces.size();
  sending_ = true;
  lock->unlock();
  if (socket_ != nullptr) {
    socket_->Send(job.batch, job.pieces[first].start, packets_end,
                  {job.entries.data(), job.entries.size(), job.rows.data(), job.rows.size()});
  }
  if (all) job.runs.clear();  // the last user of a key that was disposed of wipes it
  lock->lock();
  sending_ = false;
  if (all) free_.push_back(order_[to_send_.job % order_.size()]);
  Advance(&to_send_, end - first);
  if (all) sent_.notify_one();
  return static_cast<ptrdiff_t>(end - first);
}

}  // namespace tuntap
