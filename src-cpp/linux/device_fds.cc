#include "device_fds.h"

#include <cstdlib>
#include <mutex>
#include <set>

#include "tun_offload.h"

namespace tuntap {
namespace {

void CloseDeviceFds();

class DeviceFds {
 public:
  // Node.js and Deno end by exit(3), Bun by quick_exit(3), which calls no destructor.
  DeviceFds() { (void)at_quick_exit(CloseDeviceFds); }
  ~DeviceFds() { CloseAll(); }

  void CloseAll() {
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

void CloseDeviceFds() { device_fds.CloseAll(); }

}  // namespace

bool AddDeviceFd(int fd) { return device_fds.Add(fd); }

void CloseDeviceFd(int fd) {
  if (device_fds.Remove(fd)) CloseQueue(fd);
}

void ForgetDeviceFd(int fd) { (void)device_fds.Remove(fd); }

}  // namespace tuntap
