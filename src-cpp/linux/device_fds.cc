#include "device_fds.h"

#include <mutex>
#include <set>

#include "tun_offload.h"

namespace tuntap {
namespace {

class DeviceFds {
 public:
  ~DeviceFds() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const int fd : fds_) CloseQueue(fd);
    fds_.clear();
  }
  bool Add(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return fds_.insert(fd).second;
  }
  // Returns whether it was there.
  bool Remove(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return fds_.erase(fd) > 0;
  }

 private:
  std::mutex mutex_;
  std::set<int> fds_;
};

DeviceFds device_fds;

}  // namespace

bool AddDeviceFd(int fd) { return device_fds.Add(fd); }

void CloseDeviceFd(int fd) {
  if (device_fds.Remove(fd)) CloseQueue(fd);
}

void ForgetDeviceFd(int fd) { (void)device_fds.Remove(fd); }

}  // namespace tuntap
