#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace tuntap {

// Owns one open file description's number. Move-only; 0 is a valid number.
class FileDescriptor {
 public:
  using Closer = void (*)(int fd);

  FileDescriptor() = default;
  explicit FileDescriptor(int fd, Closer closer = Close) : fd_(fd), closer_(closer) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()), closer_(other.closer_) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
      closer_ = other.closer_;
    }
    return *this;
  }
  ~FileDescriptor() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void set_closer(Closer closer) { closer_ = closer; }

  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  void Reset() {
    if (fd_ >= 0) closer_(Release());
  }

 private:
  // close(2) is never retried: Linux frees the number even when it reports EINTR.
  static void Close(int fd) { (void)close(fd); }

  int fd_ = -1;
  Closer closer_ = Close;
};

// Another number of the same open file, or -errno. Who works on it later keeps it, so that the first one can
// be closed meanwhile, and its number given to another file.
[[nodiscard]] inline int DuplicateFd(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

}  // namespace tuntap
