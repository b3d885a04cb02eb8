#pragma once

#include <pthread.h>

#include <csignal>

namespace tuntap {

// Starts a thread that gets no signals: the process's handlers must not run in a thread that is not its own.
// Returns 0 or -errno.
[[nodiscard]] inline int StartThread(pthread_t* thread, void* (*run)(void*), void* argument) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(thread, nullptr, run, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return -error;
}

}  // namespace tuntap
