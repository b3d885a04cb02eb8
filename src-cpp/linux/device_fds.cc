#include "device_fds.h"

#include <cstdlib>
#include <mutex>
#include <set>
#include <utility>

#include "tun_offload.h"

namespace tuntap {
namespace {

void CloseDeviceFds();

struct DeviceFds {
  std::mutex mutex;
  std::set<int> fds;

  // Node.js and Deno end by exit(3), Bun by quick_exit(3), which calls no destructor.
  DeviceFds() { (void)at_quick_exit(CloseDeviceFds); }
  ~DeviceFds() { CloseDeviceFds(); }
} all;

void CloseDeviceFds() {
  const std::lock_guard<std::mutex> lock(all.mutex);
  for (const int fd : std::exchange(all.fds, {})) CloseQueue(fd);
}

// Returns whether it was there.
bool Remove(int fd) {
  const std::lock_guard<std::mutex> lock(all.mutex);
  return all.fds.erase(fd) > 0;
}

}  // namespace

bool AddDeviceFd(int fd) {
  const std::lock_guard<std::mutex> lock(all.mutex);
  return all.fds.insert(fd).second;
}

void CloseDeviceFd(int fd) {
  if (Remove(fd)) CloseQueue(fd);
}

void ForgetDeviceFd(int fd) { (void)Remove(fd); }

}  // namespace tuntap
