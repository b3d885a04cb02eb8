#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "intercept/relay.h"
#include "linux/file_descriptor.h"

namespace tuntap {

// One thread that moves the bytes of all relays, by edge-triggered epoll: a socket that blocks costs nothing
// until it is ready. It has two fds of its own, those of its pipes, and those of its relays.
class RelayThread {
 public:
  // Is told on the thread.
  class Listener {
   public:
    // The relay's second socket is connected, and it waits for Join().
    virtual void OnConnected(const std::shared_ptr<Relay>& relay) = 0;
    // Its sockets are closed. `error` is 0, or the -errno that ended it: -ECANCELED after Abort().
    virtual void OnEnd(const std::shared_ptr<Relay>& relay, int error) = 0;

   protected:
    ~Listener() = default;
  };

  // Returns 0 and sets `*out`, or -errno.
  [[nodiscard]] static int Create(Listener* listener, std::unique_ptr<RelayThread>* out);
  // Resets all connections. The listener is not told.
  ~RelayThread();

  // Begins a relay; any thread may.
  void Start(std::shared_ptr<Relay> relay);
  // Gives a relay that is connected its first socket. If the relay has ended,
  // that one is reset.
  void Join(std::shared_ptr<Relay> relay, FileDescriptor first);
  // Resets both connections. Nothing happens if the relay has ended.
  void Abort(std::shared_ptr<Relay> relay);

 private:
  RelayThread(Listener* listener, FileDescriptor epoll, FileDescriptor wake)
      : listener_(listener), epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  struct Joined {
    std::shared_ptr<Relay> relay;
    FileDescriptor first;
  };

  template <typename Change>
  void Request(Change change);
  void Run();
  [[nodiscard]] bool TakeRequests();
  void Add(std::shared_ptr<Relay> relay);
  [[nodiscard]] int Watch(RelaySide* side);
  void Fail(Relay* relay, int error);
  void Queue(Relay* relay);
  void Serve(Relay* relay);
  void End(Relay* relay, int error);

  Listener* const listener_;
  const FileDescriptor epoll_;
  const FileDescriptor wake_;  // an eventfd
  pthread_t thread_{};

  std::mutex mutex_;  // for what follows
  std::vector<std::shared_ptr<Relay>> started_;
  std::vector<Joined> joined_;
  std::vector<std::shared_ptr<Relay>> aborted_;
  bool stopped_ = false;

  // The thread's own.
  std::unordered_map<Relay*, std::shared_ptr<Relay>> relays_;
  std::vector<Relay*> queue_;  // to be served
  std::vector<Relay*> turn_;   // being served
  PipePool pipes_;
};

}  // namespace tuntap
