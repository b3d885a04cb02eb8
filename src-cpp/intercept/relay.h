#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "intercept/dialer.h"
#include "intercept/pipe_pool.h"
#include "linux/file_descriptor.h"

namespace tuntap {

class Relay;

// Closes a socket so that its peer sees a reset connection instead of an end.
void ResetConnection(FileDescriptor* socket);

// One of a relay's two sockets, and what epoll has told of it since the last EAGAIN.
struct RelaySide {
  Relay* relay = nullptr;
  FileDescriptor socket;
  bool readable = false;
  bool writable = false;
  bool failed = false;
};

// Bytes on their way from one side to the other: first those in memory, then those in the pipe. A direction
// has a pipe only while bytes are on their way.
class RelayDirection {
 public:
  enum class Progress { kWaits, kMore, kEnded, kFailed };

  // Bytes to send before those of the socket.
  void PutFirst(std::vector<uint8_t> bytes) { memory_ = std::move(bytes); }

  // Moves bytes until a socket would block, or others should have their turn (kMore). The end of `from` is
  // passed on by shutdown(2). `error()` has the -errno of kFailed.
  Progress Move(RelaySide* from, RelaySide* to, PipePool* pipes);

  // Frees what it holds. What is on its way is lost.
  void Drop();

  int error() const { return error_; }
  // Bytes that the receiving socket took. Any thread may ask.
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  ssize_t Read(int socket, PipePool* pipes);
  ssize_t Write(int socket);
  bool empty() const { return in_memory() == 0 && in_pipe_ == 0; }
  size_t in_memory() const { return memory_.size() - memory_start_; }

  std::vector<uint8_t> memory_;
  size_t memory_start_ = 0;
  Pipe pipe_;
  size_t in_pipe_ = 0;
  bool at_end_ = false;
  bool ended_ = false;
  int error_ = 0;
  std::atomic<uint64_t> bytes_{0};
};

// Two sockets, what one receives being sent by the other. No lock: all but bytes() is for one thread.
class Relay {
 public:
  // What Move() returns beside -errno.
  static constexpr int kEnded = 0;
  static constexpr int kWorks = 1;
  static constexpr int kConnected = 2;

  Relay(uint64_t id, FileDescriptor first, FileDescriptor second);
  // Only the second one, which is connecting; Join() gives the first.
  Relay(uint64_t id, FileDescriptor second, std::unique_ptr<Dialer> dialer);

  uint64_t id() const { return id_; }
  // Why a proxy refused: Dialer::reply().
  int reply() const { return reply_; }
  RelaySide* side(int index) { return &sides_[index]; }
  // The direction that begins at a side.
  RelayDirection* from(int index) { return &directions_[index]; }
  const RelayDirection* from(int index) const { return &directions_[index]; }

  // Moves what can be moved. Returns kConnected once the dialer is done, kEnded after both directions, the
  // -errno of a socket, and else kWorks. `*more`: call again, since no event tells of the rest.
  [[nodiscard]] int Move(PipePool* pipes, bool* more);

  void Join(FileDescriptor first);

  // Closes both sockets; with `reset`, the peers see a reset connection instead of an end.
  void Close(bool reset);

  // RelayThread's.
  bool is_queued = false;
  int failure = 0;

 private:
  [[nodiscard]] int Dial();
  void SetSide(int index, FileDescriptor socket);

  const uint64_t id_;
  RelaySide sides_[2];
  std::unique_ptr<Dialer> dialer_;  // until it is done
  int reply_ = 0;
  RelayDirection directions_[2];
};

}  // namespace tuntap
