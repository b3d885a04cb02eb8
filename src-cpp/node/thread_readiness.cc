#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <unordered_set>
#include <utility>

#include "linux/file_descriptor.h"
#include "linux/thread.h"
#include "linux/uninterrupted.h"
#include "readiness_engine.h"

namespace tuntap {
namespace {

class ThreadReadiness;

// How many events are told of behind another without the thread in between. While packets pour in, this
// spares waking the thread, which costs more than the rest. All fds have their turns; timers and what the
// runtime itself waits for come after them.
constexpr int kTurnsInARow = 16;

// After how many milliseconds JavaScript's thread is called again, if it did not take a turn.
constexpr int kLostMs = 100;

// What the thread's epoll tells it of: a ready fd, one behind kTurnsInARow others, or the end.
enum : uint32_t { kReady, kReadyAgain, kStop };

// The thread of an environment and what it waits for. All but Run() is called on the JavaScript thread.
//
// One epoll watches the fds. The thread waits in another one, which watches the first and tells of it once:
// from then on JavaScript's thread asks the first one itself, until nothing is ready, and lets the thread
// wait again.
class ThreadEngine final : public ReadinessEngine {
 public:
  explicit ThreadEngine(napi_env env) : env_(env) {}
  ~ThreadEngine() override { Stop(); }
  const char* name() const override { return "thread"; }

  // Changes what of `fd` is watched. Returns 0 or -errno.
  int SetInterest(ThreadReadiness* watch, int fd, int before, int events) {
    epoll_event event{};
    if (events & kReadable) event.events |= EPOLLIN;
    if (events & kWritable) event.events |= EPOLLOUT;
    event.data.ptr = watch;
    const int change = before == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    return before == events || epoll_ctl(fds_.get(), change, fd, &event) == 0 ? 0 : -errno;
  }

  // Counts the watches that keep the event loop alive.
  void Hold() {
    if (holders_++ == 0) (void)napi_ref_threadsafe_function(env_, wake_);
  }
  void Release() {
    if (--holders_ == 0) (void)napi_unref_threadsafe_function(env_, wake_);
  }

  // No event is told to the watch any more.
  void Remove(ThreadReadiness* watch) {
    watches_.erase(watch);
    for (int i = next_; i < count_; i++) {
      if (ready_[i].data.ptr == watch) ready_[i].data.ptr = nullptr;
    }
  }

 private:
  int Create(int fd, Readiness::Listener* listener, Readiness** out) override;
  int Start();
  int LetThreadWait(int change, uint32_t told);
  void Run();
  void Stop();
  void TakeTurn();
  static void OnTeardown(void* data);

  // Has JavaScript's thread take a turn, from any thread. Returns whether it does.
  bool CallTurn() {
    due_ = true;
    return napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking) == napi_ok;
  }

  napi_env env_;
  FileDescriptor fds_;   // the epoll of all watches
  FileDescriptor gate_;  // the epoll that the thread waits in
  FileDescriptor stop_;  // an eventfd
  pthread_t thread_{};
  napi_threadsafe_function wake_ = nullptr;
  bool ended_ = false;
  std::unordered_set<ThreadReadiness*> watches_;
  int holders_ = 0;
  std::atomic<bool> due_ = false;    // a turn that was not taken yet
  epoll_event ready_[kTurnsInARow];  // of which `next_` to `count_` - 1 wait for their turns
  int next_ = 0;
  int count_ = 0;
  int turns_left_ = kTurnsInARow;
};

class ThreadReadiness final : public Readiness {
 public:
  ThreadReadiness(ThreadEngine* engine, int fd, Listener* listener)
      : engine_(engine), fd_(fd), listener_(listener) {}

  int Arm(int events) override {
    armed_ |= events;
    return in_callback_ ? 0 : Apply();
  }

  bool IsArmed(int events) const override { return (armed_ & events) == events; }

  // That an event is watched needlessly shows when it happens.
  void Disarm(int events) override {
    armed_ &= ~events;
    if (!in_callback_) Hold();
  }

  void SetReferenced(bool referenced) override {
    referenced_ = referenced;
    if (!in_callback_) Hold();
  }

  void Close() override {
    listener_ = nullptr;
    armed_ = 0;
    Hold();
    SetInterest(0);
    engine_->Remove(this);
    if (!in_callback_) delete this;
  }

  void OnEvents(uint32_t seen) {
    // As libuv has it: any error is a failure, and who waits sees a hangup when reading or writing.
    int events = 0;
    if (seen & (EPOLLIN | EPOLLHUP)) events |= kReadable;
    if (seen & (EPOLLOUT | EPOLLHUP)) events |= kWritable;
    events = seen & EPOLLERR && armed_ != 0 ? kFailed | armed_ : events & armed_;
    if (events == 0) {
      SetInterest(armed_);
      return;
    }
    armed_ = events & kFailed ? 0 : armed_ & ~events;
    in_callback_ = true;
    listener_->OnReady(events);
    in_callback_ = false;
    if (listener_ == nullptr) {
      delete this;
    } else {
      (void)Apply();
    }
  }

  void OnTeardown() { listener_->OnTeardown(); }

 private:
  ~ThreadReadiness() = default;

  int Apply() {
    const int error = (armed_ & ~interest_) == 0 ? 0 : SetInterest(armed_);
    if (error < 0) armed_ = 0;
    Hold();
    return error;
  }

  int SetInterest(int events) {
    const int error = engine_->SetInterest(this, fd_, interest_, events);
    if (error == 0) interest_ = events;
    return error;
  }

  // An armed watch keeps the event loop alive if it is referenced.
  void Hold() {
    const bool holds = referenced_ && armed_ != 0;
    if (holds == holds_) return;
    holds_ = holds;
    holds ? engine_->Hold() : engine_->Release();
  }

  ThreadEngine* const engine_;
  const int fd_;
  Listener* listener_;
  int armed_ = 0;     // what the listener asked for
  int interest_ = 0;  // what epoll watches
  bool referenced_ = true;
  bool holds_ = false;
  bool in_callback_ = false;
};

int ThreadEngine::Create(int fd, Readiness::Listener* listener, Readiness** out) {
  if (ended_) return -ECANCELED;
  if (const int error = Start(); error < 0) return error;
  *out = *watches_.insert(new ThreadReadiness(this, fd, listener)).first;
  return 0;
}

// Lets the thread wait for the watched fds: it hears of them once, as `told`.
int ThreadEngine::LetThreadWait(int change, uint32_t told) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u32 = told;
  return epoll_ctl(gate_.get(), change, fds_.get(), &event);
}

// Starts the thread if it does not run. Returns 0 or -errno.
int ThreadEngine::Start() {
  if (wake_ != nullptr) return 0;
  FileDescriptor fds(epoll_create1(EPOLL_CLOEXEC));
  FileDescriptor gate(epoll_create1(EPOLL_CLOEXEC));
  FileDescriptor stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fds.valid() || !gate.valid() || !stop.valid()) return -errno;
  fds_ = std::move(fds);
  gate_ = std::move(gate);
  stop_ = std::move(stop);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = kStop;
  if (epoll_ctl(gate_.get(), EPOLL_CTL_ADD, stop_.get(), &event) < 0 ||
      LetThreadWait(EPOLL_CTL_ADD, kReady) < 0) {
    return -errno;
  }
  const auto on_wake = [](napi_env env, napi_value, void* engine, void*) {
    if (env != nullptr) static_cast<ThreadEngine*>(engine)->TakeTurn();  // else it ends
  };
  napi_value name = nullptr;
  napi_threadsafe_function wake = nullptr;
  if (napi_create_string_utf8(env_, "TUNTAP", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, on_wake,
                                      &wake) != napi_ok) {
    return -ENOSYS;
  }
  (void)napi_unref_threadsafe_function(env_, wake);
  wake_ = wake;
  const int error = StartThread(
      &thread_,
      [](void* engine) -> void* {
        static_cast<ThreadEngine*>(engine)->Run();
        return nullptr;
      },
      this);
  if (error < 0) {
    (void)napi_release_threadsafe_function(std::exchange(wake_, nullptr), napi_tsfn_release);
    return error;
  }
  // Hooks run last in, first out: this one before that of the threadsafe function.
  if (napi_add_env_cleanup_hook(env_, OnTeardown, this) == napi_ok) return 0;
  Stop();
  return -ENOSYS;
}

// On the thread.
void ThreadEngine::Run() {
  for (;;) {
    epoll_event event;
    // Some versions of Bun can lose a call.
    const int limit = due_ ? kLostMs : -1;
    const int count = Uninterrupted([&] { return epoll_wait(gate_.get(), &event, 1, limit); });
    if (count == 0 && !due_) continue;
    if (count == 1 && event.data.u32 == kStop) return;
    // The runtimes go on with a call that comes before they are through with the one before: while packets
    // pour in, the event loop would have no turn.
    if (count == 1 && event.data.u32 == kReadyAgain) (void)usleep(50);
    if (!CallTurn()) return;
  }
}

// Tells a watch of one event. Each has a call of its own, since some runtimes run the microtasks of a watch's
// callback only after the call.
void ThreadEngine::TakeTurn() {
  if (!due_.exchange(false)) return;  // called twice
  if (next_ == count_) {
    next_ = 0;
    count_ = turns_left_ == 0 ? 0 : std::max(0, epoll_wait(fds_.get(), ready_, turns_left_, 0));
    if (count_ == 0) {
      (void)LetThreadWait(EPOLL_CTL_MOD, turns_left_ == 0 ? kReadyAgain : kReady);
      turns_left_ = kTurnsInARow;
      return;
    }
    turns_left_ -= count_;
  }
  (void)CallTurn();
  const epoll_event& event = ready_[next_++];
  // The last thing: the environment may end in it. A watch that was closed since is not there.
  if (event.data.ptr != nullptr) static_cast<ThreadReadiness*>(event.data.ptr)->OnEvents(event.events);
}

void ThreadEngine::OnTeardown(void* data) {
  auto* self = static_cast<ThreadEngine*>(data);
  while (!self->watches_.empty()) (*self->watches_.begin())->OnTeardown();
  self->Stop();
}

// For good.
void ThreadEngine::Stop() {
  if (wake_ == nullptr || std::exchange(ended_, true)) return;
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  pthread_join(thread_, nullptr);
  fds_.Reset();
  gate_.Reset();
  stop_.Reset();
  (void)napi_release_threadsafe_function(wake_, napi_tsfn_release);
}

}  // namespace

std::unique_ptr<ReadinessEngine> NewThreadEngine(napi_env env) { return std::make_unique<ThreadEngine>(env); }

}  // namespace tuntap
