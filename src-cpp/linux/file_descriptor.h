#ifndef TUNTAP_FILE_DESCRIPTOR_H_
#define TUNTAP_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace tuntap {

// Owns one open file description's number. Move-only; 0 is a valid number.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // close(2) is never retried: Linux frees the number even when it reports EINTR.
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace tuntap

#endif  // TUNTAP_FILE_DESCRIPTOR_H_
