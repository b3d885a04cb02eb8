#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "linux/file_descriptor.h"
#include "linux/thread.h"
#include "linux/uninterrupted.h"
#include "readiness_engine.h"

namespace tuntap {
namespace {

class ThreadReadiness;

// An event bit beside ReadyEvents: the JavaScript thread itself saw them.
constexpr int kSeenHere = 8;
static_assert((kSeenHere & (kReadable | kWritable | kFailed)) == 0);

// How many batches are read behind another without the thread in between. While packets pour in, this
// spares waking the thread, which costs more than the rest; timers and other fds wait meanwhile.
constexpr int kTurnsInARow = 1;

// What the thread tells JavaScript's: which watch is ready, and for what. It travels as the pointer that a
// threadsafe function passes on, so that nothing is allocated and nothing is shared between the threads.
class Token {
 public:
  Token(uint32_t slot, uint32_t generation)
      : value_((uintptr_t{generation} << kSlotBits | slot) << kEventBits) {}
  explicit Token(uint64_t value) : value_(static_cast<uintptr_t>(value)) {}
  explicit Token(void* pointer) : value_(reinterpret_cast<uintptr_t>(pointer)) {}

  uint64_t value() const { return value_; }
  void* WithEvents(int events) const {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): it is never followed
    return reinterpret_cast<void*>(value_ | static_cast<uintptr_t>(events));
  }

  int events() const { return static_cast<int>(value_ & ((1u << kEventBits) - 1)); }
  uint32_t slot() const { return static_cast<uint32_t>(value_ >> kEventBits) & (kMaxSlots - 1); }
  // Whether it is of that generation, of which it has the lower bits.
  bool IsOf(uint32_t generation) const {
    return Token(slot(), generation).value_ == (value_ >> kEventBits) << kEventBits;
  }

  static constexpr int kEventBits = 4;
  static constexpr int kSlotBits = sizeof(void*) == 8 ? 28 : 14;
  static constexpr uint32_t kMaxSlots = uint32_t{1} << kSlotBits;

 private:
  uintptr_t value_;
};

// Stops the thread. No watch's token: these have no events yet.
constexpr uint64_t kStop = UINT64_MAX;

// The thread of an environment and what it waits for. All but Run() is called on the JavaScript thread.
class ThreadEngine final : public ReadinessEngine {
 public:
  explicit ThreadEngine(napi_env env) : env_(env) {}
  ~ThreadEngine() override { Stop(); }
  const char* name() const override { return "thread"; }

  // Tells the thread of `events` once. Returns 0 or -errno.
  int Wait(int fd, bool is_known, int events, Token token) {
    epoll_event event{};
    event.events = EPOLLONESHOT;
    if (events & kReadable) event.events |= EPOLLIN;
    if (events & kWritable) event.events |= EPOLLOUT;
    event.data.u64 = token.value();
    return epoll_ctl(epoll_.get(), is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
  }

  // Tells JavaScript's thread of events, from any thread. Returns whether it takes them.
  bool Tell(Token token, int events) {
    // One call a watch, since the runtimes run the microtasks of a watch's callback after each call.
    return napi_call_threadsafe_function(wake_, token.WithEvents(events), napi_tsfn_nonblocking) == napi_ok;
  }

  // Counts the watches that keep the event loop alive.
  void Hold() {
    if (holders_++ == 0) (void)napi_ref_threadsafe_function(env_, wake_);
  }
  void Release() {
    if (--holders_ == 0) (void)napi_unref_threadsafe_function(env_, wake_);
  }

  // Ends a watch. What the thread told of it is stale from now on.
  void Remove(int fd, bool is_known, Token token) {
    if (is_known) (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    slots_[token.slot()] = {nullptr, slots_[token.slot()].generation + 1};
    free_.push_back(token.slot());
  }

 private:
  struct Slot {
    ThreadReadiness* watch;
    uint32_t generation;
  };

  int Create(int fd, Readiness::Listener* listener, Readiness** out) override;
  int Start();
  void Run();
  void Stop();
  static void OnWake(napi_env env, napi_value, void* context, void* data);
  static void OnTeardown(void* data);

  napi_env env_;
  FileDescriptor epoll_;
  FileDescriptor stop_;  // an eventfd
  pthread_t thread_{};
  napi_threadsafe_function wake_ = nullptr;
  bool ended_ = false;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  int holders_ = 0;
};

class ThreadReadiness final : public Readiness {
 public:
  ThreadReadiness(ThreadEngine* engine, int fd, Token token, Listener* listener)
      : engine_(engine), fd_(fd), token_(token), listener_(listener) {}

  int Arm(int events) override {
    armed_ |= events;
    return in_callback_ ? 0 : Apply();
  }

  bool IsArmed(int events) const override { return (armed_ & events) == events; }

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
    engine_->Remove(fd_, is_known_, token_);
    if (!in_callback_) delete this;
  }

  // The thread saw `events`. Some may have been disarmed since: that is not worth a system call.
  void OnEvents(int events) {
    waiting_ = 0;
    if (!(events & kSeenHere)) turns_left_ = kTurnsInARow;
    events = events & kFailed && armed_ != 0 ? kFailed | armed_ : events & armed_;
    if (events != 0) {
      armed_ = events & kFailed ? 0 : armed_ & ~events;
      in_callback_ = true;
      listener_->OnReady(events);
      in_callback_ = false;
    }
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
    int error = 0;
    if ((armed_ & ~waiting_) == 0 || TellNow()) {
      waiting_ |= armed_;
    } else {
      error = engine_->Wait(fd_, is_known_, armed_, token_);
      if (error < 0) armed_ = 0;
      waiting_ = armed_;
      is_known_ |= error == 0;
    }
    Hold();
    return error;
  }

  // Tells of what holds already, without the thread. Returns false if that is nothing, or the thread's turn.
  bool TellNow() {
    if (turns_left_ == 0) return false;
    pollfd now{fd_, 0, 0};
    if (armed_ & kReadable) now.events |= POLLIN;
    if (armed_ & kWritable) now.events |= POLLOUT;
    if (poll(&now, 1, 0) != 1 || (now.revents & (POLLERR | POLLHUP | POLLNVAL))) return false;
    const int events = (now.revents & POLLIN ? kReadable : 0) | (now.revents & POLLOUT ? kWritable : 0);
    if (!engine_->Tell(token_, events | kSeenHere)) return false;
    turns_left_--;
    return true;
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
  const Token token_;
  Listener* listener_;
  int armed_ = 0;    // what the listener asked for
  int waiting_ = 0;  // at least what epoll waits for
  int turns_left_ = 0;
  bool is_known_ = false;
  bool referenced_ = true;
  bool holds_ = false;
  bool in_callback_ = false;
};

int ThreadEngine::Create(int fd, Readiness::Listener* listener, Readiness** out) {
  if (ended_) return -ECANCELED;
  if (const int error = Start(); error < 0) return error;
  if (free_.empty()) {
    if (slots_.size() == Token::kMaxSlots) return -EMFILE;
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.push_back({nullptr, 0});
  }
  Slot& slot = slots_[free_.back()];
  slot.watch = new ThreadReadiness(this, fd, Token(free_.back(), slot.generation), listener);
  free_.pop_back();
  *out = slot.watch;
  return 0;
}

// Starts the thread if it does not run. Returns 0 or -errno.
int ThreadEngine::Start() {
  if (wake_ != nullptr) return 0;
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  FileDescriptor stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kStop;
  if (!epoll.valid() || !stop.valid() || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop.get(), &event) < 0) {
    return -errno;
  }
  napi_value name = nullptr;
  napi_threadsafe_function wake = nullptr;
  if (napi_create_string_utf8(env_, "TUNTAP", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, OnWake,
                                      &wake) != napi_ok) {
    return -ENOSYS;
  }
  (void)napi_unref_threadsafe_function(env_, wake);
  epoll_ = std::move(epoll);
  stop_ = std::move(stop);
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
  epoll_event events[64];
  for (;;) {
    const int count = Uninterrupted([&] { return epoll_wait(epoll_.get(), events, std::size(events), -1); });
    for (int i = 0; i < count; i++) {
      if (events[i].data.u64 == kStop) return;
      const uint32_t seen = events[i].events;
      // As libuv has it: any error is a failure, and who waits sees a hangup when reading or writing.
      int ready = seen & EPOLLERR ? kFailed : 0;
      if (seen & (EPOLLIN | EPOLLHUP)) ready |= kReadable;
      if (seen & (EPOLLOUT | EPOLLHUP)) ready |= kWritable;
      if (!Tell(Token(events[i].data.u64), ready)) return;
    }
  }
}

void ThreadEngine::OnWake(napi_env env, napi_value, void* context, void* data) {
  if (env == nullptr) return;  // the environment ends
  auto* self = static_cast<ThreadEngine*>(context);
  const Token token(data);
  const Slot slot = self->slots_[token.slot()];
  if (slot.watch != nullptr && token.IsOf(slot.generation)) slot.watch->OnEvents(token.events());
}

void ThreadEngine::OnTeardown(void* data) {
  auto* self = static_cast<ThreadEngine*>(data);
  for (size_t i = 0; i < self->slots_.size(); i++) {
    if (self->slots_[i].watch != nullptr) self->slots_[i].watch->OnTeardown();
  }
  self->Stop();
}

// For good.
void ThreadEngine::Stop() {
  if (wake_ == nullptr || std::exchange(ended_, true)) return;
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  pthread_join(thread_, nullptr);
  epoll_.Reset();
  stop_.Reset();
  (void)napi_release_threadsafe_function(wake_, napi_tsfn_release);
}

}  // namespace

std::unique_ptr<ReadinessEngine> NewThreadEngine(napi_env env) { return std::make_unique<ThreadEngine>(env); }

}  // namespace tuntap
