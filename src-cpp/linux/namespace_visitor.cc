#include "namespace_visitor.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "file_descriptor.h"
#include "thread.h"
#include "uninterrupted.h"

namespace tuntap {
namespace {

constexpr long kStayNs = 100'000'000;

void Wait(sem_t* semaphore) {
  (void)Uninterrupted([=] { return sem_wait(semaphore); });
}

// Returns false if it was not posted for kStayNs.
bool WaitAWhile(sem_t* semaphore) {
  timespec until{};
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += kStayNs;
  if (until.tv_nsec >= 1'000'000'000) {
    until.tv_sec++;
    until.tv_nsec -= 1'000'000'000;
  }
  return Uninterrupted([&] { return sem_timedwait(semaphore, &until); }) == 0;
}

}  // namespace

NamespaceVisitor& NamespaceVisitor::Shared() {
  // Never destroyed: at the end of the process its thread may still wait.
  static auto* const visitor = new NamespaceVisitor;
  return *visitor;
}

NamespaceVisitor::NamespaceVisitor() {
  sem_init(&asked_, 0, 0);
  sem_init(&done_, 0, 0);
}

int NamespaceVisitor::Visit(int namespace_fd, void* (*operation)(void*), void* argument) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!Ask()) {
    const int error = Start();
    if (error < 0) return error;
  }
  ComeToThisProcessor();
  namespace_fd_ = namespace_fd;
  operation_ = operation;
  argument_ = argument;
  sem_post(&asked_);
  Wait(&done_);
  if (state_ == State::kEnded) Join();
  return result_;
}

// Returns false if no thread waits. Otherwise it goes on waiting until asked_ is posted.
bool NamespaceVisitor::Ask() {
  State waits = State::kWaits;
  return state_.compare_exchange_strong(waits, State::kAsked);
}

int NamespaceVisitor::Start() {
  Join();
  const int error = StartThread(&thread_, Run, this);
  if (error < 0) return error;
  (void)pthread_setname_np(thread_, "namespaces");
  joinable_ = true;
  processor_ = -1;
  state_ = State::kAsked;
  return 0;
}

void NamespaceVisitor::Join() {
  if (std::exchange(joinable_, false)) pthread_join(thread_, nullptr);
}

// Waking another processor takes several times as long as the operation, and this one is about to be free.
void NamespaceVisitor::ComeToThisProcessor() {
  const int here = sched_getcpu();
  if (here < 0 || here >= CPU_SETSIZE || here == std::exchange(processor_, here)) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(here, &set);
  (void)pthread_setaffinity_np(thread_, sizeof(set), &set);
}

void* NamespaceVisitor::Run(void* visitor) {
  static_cast<NamespaceVisitor*>(visitor)->Serve();
  return nullptr;
}

void NamespaceVisitor::Serve() {
  // The namespace of the main thread, which never leaves it.
  const FileDescriptor home(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  while (WaitForVisit()) {
    const bool entered = setns(namespace_fd_, CLONE_NEWNET) == 0;
    result_ = entered ? 0 : -errno;
    if (entered) operation_(argument_);
    // A thread that can't go home ends, and another one takes its place.
    const bool is_home = !entered || setns(home.get(), CLONE_NEWNET) == 0;
    state_ = is_home ? State::kWaits : State::kEnded;
    sem_post(&done_);
    if (!is_home) return;
  }
}

// Returns false when the thread is to end.
bool NamespaceVisitor::WaitForVisit() {
  if (WaitAWhile(&asked_)) return true;
  State waits = State::kWaits;
  if (state_.compare_exchange_strong(waits, State::kEnded)) return false;
  Wait(&asked_);  // somebody is asking
  return true;
}

}  // namespace tuntap
