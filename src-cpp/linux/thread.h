#pragma once

#include <pthread.h>

#include <csignal>

namespace tuntap {

// While it lives, the thread gets no signals, and what it starts begins without them, too: the process's
// handlers must not run in a thread or child that is not its own.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

// Starts a thread that gets no signals. Returns 0 or -errno.
[[nodiscard]] inline int StartThread(pthread_t* thread, void* (*run)(void*), void* argument) {
  const BlockedSignals blocked;
  return -pthread_create(thread, nullptr, run, argument);
}

}  // namespace tuntap
