#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "linux/file_descriptor.h"

namespace tuntap {

// A pipe that splice(2) moves bytes through.
struct Pipe {
  FileDescriptor out;  // what was spliced in is read here
  FileDescriptor in;

  bool valid() const { return in.valid(); }
};

// Empty pipes, kept for the next transfer: making one costs more than moving a small message.
class PipePool {
 public:
  // What a pipe may hold, and so what a relay may keep for a receiver that does not read. Over loopback, a
  // gigabyte cost the thread 307 ms with 64 KiB, 261 ms with this, 235 ms with 1 MiB, and 511 ms by copying.
  // A user without privilege may have 64 MB in pipes (pipe-user-pages-soft); then the kernel makes small
  // ones.
  static constexpr int kPipeSize = 256 * 1024;

  // A pipe, which is not valid if the process may open no more files.
  Pipe Take() {
    if (!free_.empty()) {
      Pipe pipe = std::move(free_.back());
      free_.pop_back();
      return pipe;
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return {};
    (void)fcntl(fds[1], F_SETPIPE_SZ, kPipeSize);  // a smaller one works, too
    return {FileDescriptor(fds[0]), FileDescriptor(fds[1])};
  }

  // Takes an empty pipe back.
  void Return(Pipe pipe) {
    if (free_.size() < kMaxFree) free_.push_back(std::move(pipe));
  }

 private:
  static constexpr size_t kMaxFree = 32;

  std::vector<Pipe> free_;
};

}  // namespace tuntap
