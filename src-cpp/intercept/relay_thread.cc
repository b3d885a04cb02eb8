#include "intercept/relay_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <iterator>
#include <utility>

#include "linux/thread.h"
#include "linux/uninterrupted.h"

namespace tuntap {

int RelayThread::Create(Listener* listener, std::unique_ptr<RelayThread>* out) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return -errno;
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;  // of no side
  if (!wake.valid() || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) < 0) return -errno;
  std::unique_ptr<RelayThread> thread(new RelayThread(listener, std::move(epoll), std::move(wake)));
  const int error = StartThread(
      &thread->thread_,
      [](void* self) -> void* {
        static_cast<RelayThread*>(self)->Run();
        return nullptr;
      },
      thread.get());
  if (error < 0) {
    thread->thread_ = {};
    thread->stopped_ = true;
    return error;
  }
  (void)pthread_setname_np(thread->thread_, "relay");
  *out = std::move(thread);
  return 0;
}

RelayThread::~RelayThread() {
  if (stopped_) return;  // it never began
  Request([this] { stopped_ = true; });
  pthread_join(thread_, nullptr);
  for (const auto& relay : started_) relay->Close(true);
  for (const auto& [key, relay] : relays_) relay->Close(true);
}

void RelayThread::Start(std::shared_ptr<Relay> relay) {
  Request([&] { started_.push_back(std::move(relay)); });
}

void RelayThread::Join(std::shared_ptr<Relay> relay, FileDescriptor first) {
  Request([&] { joined_.push_back({std::move(relay), std::move(first)}); });
}

void RelayThread::Abort(std::shared_ptr<Relay> relay) {
  Request([&] { aborted_.push_back(std::move(relay)); });
}

template <typename Change>
void RelayThread::Request(Change change) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    change();
  }
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

void RelayThread::Run() {
  epoll_event events[256];
  for (;;) {
    const int timeout = queue_.empty() ? -1 : 0;
    bool woken = false;
    const int count =
        Uninterrupted([&] { return epoll_wait(epoll_.get(), events, std::size(events), timeout); });
    for (int i = 0; i < count; i++) {
      auto* const side = static_cast<RelaySide*>(events[i].data.ptr);
      if (side == nullptr) {
        woken = true;
        continue;
      }
      const uint32_t seen = events[i].events;
      if (seen & (EPOLLIN | EPOLLHUP | EPOLLERR)) side->readable = true;
      if (seen & (EPOLLOUT | EPOLLHUP | EPOLLERR)) side->writable = true;
      if (seen & EPOLLERR) side->failed = true;
      Queue(side->relay);
    }
    if (woken && !TakeRequests()) return;
    // No event is left that could name a relay that ends now.
    turn_.swap(queue_);
    for (Relay* relay : turn_) Serve(relay);
    turn_.clear();
  }
}

// Takes what other threads asked for. Returns false at the end.
bool RelayThread::TakeRequests() {
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof(count));
  std::vector<std::shared_ptr<Relay>> started;
  std::vector<Joined> joined;
  std::vector<std::shared_ptr<Relay>> aborted;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_) return false;
    started.swap(started_);
    joined.swap(joined_);
    aborted.swap(aborted_);
  }
  for (auto& relay : started) Add(std::move(relay));
  for (Joined& join : joined) {
    if (relays_.count(join.relay.get()) == 0) {
      ResetConnection(&join.first);
      continue;
    }
    join.relay->Join(std::move(join.first));
    if (const int error = Watch(join.relay->side(0)); error < 0) Fail(join.relay.get(), error);
  }
  for (const auto& relay : aborted) {
    if (relays_.count(relay.get()) > 0) Fail(relay.get(), -ECANCELED);
  }
  return true;
}

void RelayThread::Add(std::shared_ptr<Relay> relay) {
  Relay* const added = relay.get();
  relays_.emplace(added, std::move(relay));
  for (int i = 0; i < 2; i++) {
    if (!added->side(i)->socket.valid()) continue;
    if (const int error = Watch(added->side(i)); error < 0) Fail(added, error);
  }
}

int RelayThread::Watch(RelaySide* side) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.ptr = side;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, side->socket.get(), &event) < 0 ? -errno : 0;
}

// Ends the relay in its turn, since the queue may have it.
void RelayThread::Fail(Relay* relay, int error) {
  relay->failure = error;
  Queue(relay);
}

void RelayThread::Queue(Relay* relay) {
  if (std::exchange(relay->is_queued, true)) return;
  queue_.push_back(relay);
}

void RelayThread::Serve(Relay* relay) {
  relay->is_queued = false;
  bool more = false;
  const int result = relay->failure < 0 ? relay->failure : relay->Move(&pipes_, &more);
  if (result == Relay::kConnected) {
    listener_->OnConnected(relays_[relay]);
  } else if (result != Relay::kWorks) {
    End(relay, result);
  } else if (more) {
    Queue(relay);
  }
}

void RelayThread::End(Relay* relay, int error) {
  const auto place = relays_.find(relay);
  const std::shared_ptr<Relay> held = std::move(place->second);
  relays_.erase(place);
  for (int i = 0; i < 2; i++) {
    // Another fd of the same socket would keep it in the set.
    (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, relay->side(i)->socket.get(), nullptr);
  }
  held->Close(error != 0);
  listener_->OnEnd(held, error);
}

}  // namespace tuntap
