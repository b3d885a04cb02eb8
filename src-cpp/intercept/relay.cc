#include "intercept/relay.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "linux/uninterrupted.h"

namespace tuntap {
namespace {

// After so many bytes in a row the other relays have their turn.
constexpr size_t kTurn = size_t{1} << 20;

// How much is read at once where no pipe can be had.
constexpr size_t kCopied = size_t{64} << 10;

}  // namespace

void ResetConnection(FileDescriptor* socket) {
  const linger now{1, 0};
  if (socket->valid()) (void)setsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  socket->Reset();
}

// Only into an empty pipe: of a full one, splice(2) says EAGAIN as well.
ssize_t RelayDirection::Read(int socket, PipePool* pipes) {
  if (!pipe_.valid()) pipe_ = pipes->Take();
  if (pipe_.valid()) {
    const ssize_t count = Uninterrupted([&] {
      return splice(socket, nullptr, pipe_.in.get(), nullptr, kTurn, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    });
    if (count > 0) in_pipe_ = static_cast<size_t>(count);
    return count;
  }
  memory_.resize(kCopied);
  memory_start_ = 0;
  const ssize_t count =
      Uninterrupted([&] { return recv(socket, memory_.data(), memory_.size(), MSG_DONTWAIT); });
  if (count > 0) {
    memory_.resize(static_cast<size_t>(count));
  } else {
    memory_ = {};
  }
  return count;
}

ssize_t RelayDirection::Write(int socket) {
  if (in_memory() > 0) {
    const ssize_t count = Uninterrupted([&] {
      return send(socket, memory_.data() + memory_start_, in_memory(), MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (count > 0) memory_start_ += static_cast<size_t>(count);
    if (in_memory() == 0) {
      memory_ = {};
      memory_start_ = 0;
    }
    return count;
  }
  // SIGPIPE is blocked in this thread.
  const ssize_t count = Uninterrupted([&] {
    return splice(pipe_.out.get(), nullptr, socket, nullptr, in_pipe_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  });
  if (count > 0) in_pipe_ -= static_cast<size_t>(count);
  return count;
}

RelayDirection::Progress RelayDirection::Move(RelaySide* from, RelaySide* to, PipePool* pipes) {
  if (ended_) return Progress::kEnded;
  const uint64_t limit = bytes() + kTurn;
  for (;;) {
    while (!empty()) {
      if (!to->writable) return Progress::kWaits;
      const ssize_t count = Write(to->socket.get());
      if (count == -EAGAIN) {
        to->writable = false;
      } else if (count < 0) {
        error_ = static_cast<int>(count);
        return Progress::kFailed;
      } else {
        bytes_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
      }
    }
    if (!from->readable || at_end_) break;
    if (bytes() >= limit) return Progress::kMore;
    const ssize_t count = Read(from->socket.get(), pipes);
    if (count == -EAGAIN) {
      from->readable = false;
    } else if (count < 0) {
      error_ = static_cast<int>(count);
      return Progress::kFailed;
    }
    at_end_ = count == 0;
  }
  if (pipe_.valid()) pipes->Return(std::move(pipe_));
  if (!at_end_) return Progress::kWaits;
  (void)shutdown(to->socket.get(), SHUT_WR);  // ENOTCONN: that side was reset, which its own direction finds
  ended_ = true;
  return Progress::kEnded;
}

void RelayDirection::Drop() {
  memory_ = {};
  pipe_ = {};
}

Relay::Relay(uint64_t id, FileDescriptor first, FileDescriptor second) : id_(id) {
  SetSide(0, std::move(first));
  SetSide(1, std::move(second));
}

Relay::Relay(uint64_t id, FileDescriptor second, std::unique_ptr<Dialer> dialer)
    : id_(id), dialer_(std::move(dialer)) {
  SetSide(1, std::move(second));
}

void Relay::Join(FileDescriptor first) { SetSide(0, std::move(first)); }

void Relay::SetSide(int index, FileDescriptor socket) {
  // SPLICE_F_NONBLOCK is about the pipe alone.
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags >= 0) (void)fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK);
  // Nothing waits to be sent together: what one socket gave goes to the other at once.
  const int on = 1;
  (void)setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sides_[index].relay = this;
  sides_[index].socket = std::move(socket);
}

int Relay::Dial() {
  RelaySide& side = sides_[1];
  const int result = dialer_->Continue(side.socket.get(), &side.readable, &side.writable);
  if (result > 0) return kWorks;
  reply_ = dialer_->reply();
  if (result < 0) return result;
  directions_[1].PutFirst(dialer_->TakeRest());
  dialer_.reset();
  return kConnected;
}

int Relay::Move(PipePool* pipes, bool* more) {
  if (dialer_ != nullptr) return Dial();
  if (!sides_[0].socket.valid()) return kWorks;
  using Progress = RelayDirection::Progress;
  Progress progress[2];
  for (int i = 0; i < 2; i++) {
    progress[i] = directions_[i].Move(&sides_[i], &sides_[1 - i], pipes);
    if (progress[i] == Progress::kFailed) return directions_[i].error();
  }
  if (progress[0] == Progress::kEnded && progress[1] == Progress::kEnded) return kEnded;
  *more = progress[0] == Progress::kMore || progress[1] == Progress::kMore;
  if (*more) return kWorks;
  // A reset that neither reading nor writing has met, since that direction waits for the other socket.
  for (RelaySide& side : sides_) {
    if (!side.failed) continue;
    side.failed = false;
    if (const int error = PendingError(side.socket.get()); error < 0) return error;
  }
  return kWorks;
}

void Relay::Close(bool reset) {
  for (RelaySide& side : sides_) {
    if (reset) ResetConnection(&side.socket);
    side.socket.Reset();
  }
  for (RelayDirection& direction : directions_) direction.Drop();
}

}  // namespace tuntap
