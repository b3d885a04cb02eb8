#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "batch/batch_view.h"
#include "crypto/aead.h"
#include "linux/file_descriptor.h"
#include "port/udp_sender.h"

namespace tuntap {

// A second fd of a UDP socket, and what sends by it.
class SealedSocket {
 public:
  SealedSocket(FileDescriptor fd, int family, bool gso)
      : fd_(std::move(fd)), state_(std::make_unique<UdpState>()), sender_(family, state_.get()) {
    state_->gso = gso ? 1 : 0;
  }

  void Send(const BatchView& batch, size_t start, size_t end, const Remotes& remotes) {
    (void)sender_.WriteTo(fd_.get(), batch, start, end, remotes);  // what is refused has a status
  }

 private:
  const FileDescriptor fd_;
  const std::unique_ptr<UdpState> state_;
  UdpSender sender_;
};

// Threads that seal batches, and one more that sends them. A batch is cut into pieces, which any of them
// seal; they leave in the order in which they were handed over. One thread, the owner, calls all methods.
//
// Did the sealing threads send as well, a core would be lost to one of them mostly while it sends, as it
// comes back from the system call, and all the others would wait for it.
class SealingPool {
 public:
  // Packets of a batch that are sealed by one key, packet `start` under `counter` and each further one under
  // the next.
  struct Run {
    std::shared_ptr<Aead> aead;  // with a context for each thread, and one more
    std::vector<uint8_t> header;
    uint32_t start;
    uint32_t end;
    uint64_t counter;
    Padding padding;
  };

  // Returns 0 and sets `*out`, or -errno if a thread can't start. How many batches can be at work at a time:
  // `few`, at least 2, and up to `many` while threads have nothing to do because another one, which lost its
  // core, has the packets that leave next.
  [[nodiscard]] static int Create(size_t threads, size_t few, size_t many, std::unique_ptr<SealingPool>* out);
  // Waits for the pieces that are being sealed or sent; what is behind them is dropped.
  ~SealingPool();

  // Where the batches that follow are sent, or nullptr. Waits for those before.
  void UseSocket(std::unique_ptr<SealedSocket> socket);

  // Which of the `many` batches the next Send() hands over, and the caller may fill until then: the one sent
  // last, since the caches have it. Waits while all are at work.
  size_t WaitForPlace();
  // The same for a new batch: without runs that one left which was begun and not handed over.
  size_t Begin();

  // Adds a run to the batch that Send() is to hand over.
  void Seal(Run run);
  // Hands the batch over: it is the pool's until WaitForPlace() returns its place again. Packets of no run
  // must have been dropped. `rows` and `entries`, one for each row, tell where the packets go, and are
  // copied.
  void Send(const BatchView& batch, const PacketRun* rows, size_t row_count, const DatagramEntry* entries);

  [[nodiscard]] size_t threads() const { return sealers_; }
  // Whether everything was sent.
  [[nodiscard]] bool Idle() const;

 private:
  SealingPool(size_t few, size_t many);

  // Packets `start` to `end` - 1 of a batch, about as many as one send takes.
  struct Piece {
    uint32_t start;
    uint32_t end;
    bool sealed;
  };

  struct Job {
    BatchView batch;
    std::vector<Run> runs;
    std::vector<PacketRun> rows;
    std::vector<DatagramEntry> entries;
    std::vector<Piece> pieces;
  };

  static constexpr size_t kNoPlace = SIZE_MAX;

  // A piece in the order of all pieces: which job, counted from the first one ever, and which of its pieces.
  struct Position {
    uint64_t job = 0;
    size_t piece = 0;
  };

  Job& JobAt(uint64_t number) { return jobs_[order_[number % order_.size()]]; }
  void Advance(Position* position, size_t pieces);
  static void Cut(Job* job);
  static void SealPiece(const Job& job, const Piece& piece, size_t context);
  void SealAll(size_t thread);
  void SendAll();
  bool CanSend();
  size_t Call(size_t count);
  bool CallSealer();
  void CallIdle(std::unique_lock<std::mutex>* lock);
  bool HasPlace();
  void TellOwner(std::unique_lock<std::mutex>* lock);
  static void Wake(bool* waits, std::condition_variable* condition, std::unique_lock<std::mutex>* lock);
  void SealNext(size_t thread, std::unique_lock<std::mutex>* lock);
  void SendNext(std::unique_lock<std::mutex>* lock);
  void WaitUntilSent(uint64_t job);

  mutable std::mutex mutex_;
  std::condition_variable work_;    // the sealing threads wait
  std::condition_variable sealed_;  // the sending thread waits
  std::condition_variable sent_;    // the owner waits
  size_t idle_ = 0;                 // sealing threads that wait and were not called
  size_t called_ = 0;               // sealing threads that are to wake up
  bool sender_waits_ = false;
  bool owner_waits_ = false;
  std::vector<Job> jobs_;      // by place
  std::vector<size_t> order_;  // the places of jobs, by their numbers
  std::vector<size_t> free_;   // places
  size_t place_ = kNoPlace;    // that WaitForPlace() gave to the owner
  std::vector<Run> next_runs_;
  std::unique_ptr<SealedSocket> socket_;
  uint64_t handed_over_ = 0;  // jobs
  size_t unsealed_ = 0;       // pieces that no thread has taken yet
  const size_t few_;
  size_t allowed_;  // how many jobs may be at work
  Position to_seal_;
  Position to_send_;
  bool stopped_ = false;
  // What a thread is told when it starts.
  struct Worker {
    SealingPool* pool;
    size_t number;
    pthread_t thread;
  };
  std::vector<std::unique_ptr<Worker>> threads_;  // the last one sends
  size_t sealers_ = 0;
};

}  // namespace tuntap
