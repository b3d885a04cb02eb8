#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <mutex>

namespace tuntap {

// A thread that enters network namespaces for the process's other threads, which wait for it meanwhile. It
// stays for a while, since starting a thread takes ten times as long as opening a socket. In between it is in
// the process's own namespace, and so keeps none alive.
class NamespaceVisitor {
 public:
  static NamespaceVisitor& Shared();

  // Between the two there may be a thread; the last Release() waits for its end. Each JavaScript environment
  // is a user, since with the last one the code that the thread runs may be unloaded.
  void Use();
  void Release();

  // Runs the operation inside the namespace and returns 0; or does not, and returns the -errno of what
  // forbade it: -EPERM if it was setns(2).
  [[nodiscard]] int Visit(int namespace_fd, void* (*operation)(void*), void* argument);

 private:
  NamespaceVisitor();

  [[nodiscard]] int Start();
  void Join();
  void ComeToThisProcessor();

  // The thread's.
  static void* Run(void* visitor);
  void Serve();
  [[nodiscard]] bool WaitForVisit();

  std::mutex mutex_;  // of who waits, and of the thread when it ends by itself
  int users_ = 0;
  bool serves_ = false;    // the thread does, or it ends or has ended
  bool joinable_ = false;  // there is one
  pthread_t thread_{};
  int processor_ = -1;

  // What is asked for. A semaphore wakes the one side, and then the other.
  sem_t asked_;
  sem_t done_;
  int namespace_fd_ = -1;
  void* (*operation_)(void*) = nullptr;  // or nullptr: the thread ends
  void* argument_ = nullptr;
  int result_ = 0;
};

}  // namespace tuntap
