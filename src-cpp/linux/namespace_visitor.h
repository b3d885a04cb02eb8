#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <mutex>

namespace tuntap {

// A thread that enters network namespaces for the process's other threads, which wait for it meanwhile, one
// after the other. It stays for a while, since starting a thread takes ten times as long as opening a socket.
// When a visit has ended, it is in the process's own namespace again, or gone: it keeps no namespace alive.
//
// What belongs to a single thread, such as capabilities that capset(2) took or a Landlock domain, it has from
// whoever started it.
class NamespaceVisitor {
 public:
  static NamespaceVisitor& Shared();

  // Runs the operation inside the namespace and returns 0; or does not, and returns the -errno of what
  // forbade it: -EPERM if it was setns(2).
  [[nodiscard]] int Visit(int namespace_fd, void* (*operation)(void*), void* argument);

 private:
  enum class State { kWaits, kAsked, kEnded };

  NamespaceVisitor();

  [[nodiscard]] bool Ask();
  [[nodiscard]] int Start();
  void Join();
  void ComeToThisProcessor();

  // The thread's.
  static void* Run(void* visitor);
  void Serve();
  [[nodiscard]] bool WaitForVisit();

  std::mutex mutex_;       // of who waits
  bool joinable_ = false;  // there is a thread, or was one
  pthread_t thread_{};
  int processor_ = -1;
  std::atomic<State> state_{State::kEnded};

  // What is asked for. A semaphore wakes the one side, and then the other.
  sem_t asked_;
  sem_t done_;
  int namespace_fd_ = -1;
  void* (*operation_)(void*) = nullptr;
  void* argument_ = nullptr;
  int result_ = 0;
};

}  // namespace tuntap
