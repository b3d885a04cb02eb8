#ifndef TUNTAP_READINESS_H_
#define TUNTAP_READINESS_H_

#include <node_api.h>

namespace tuntap {

enum ReadyEvents : int {
  kReadable = 1,
  kWritable = 2,
  // The fd reports an error condition, as a TUN fd does when its device was deleted; with it comes what was
  // armed.
  kFailed = 4,
};

// Watches one fd on the event loop of a Node-API environment, and is the only class that knows libuv, so
// that another event loop can take its place.
class Readiness {
 public:
  class Listener {
   public:
    // On the JavaScript thread, from the event loop.
    virtual void OnReady(int events) = 0;
    // The environment is being torn down: the listener calls Close() before it returns.
    virtual void OnTeardown() = 0;

   protected:
    ~Listener() = default;
  };

  // Sets O_NONBLOCK on `fd`. A TUN fd must be attached first: before TUNSETIFF it polls as failed.
  // Returns 0 and sets `*out`, or -errno.
  [[nodiscard]] static int Create(napi_env env, int fd, Listener* listener, Readiness** out);

  // Asks for one OnReady call when any of `events` holds. What OnReady did not arm again is off after it;
  // arming again from within costs no system call.
  [[nodiscard]] int Arm(int events);
  // Takes Arm back.
  void Disarm(int events);

  // Whether an armed watch keeps the event loop alive; it does at first.
  void SetReferenced(bool referenced);

  // No call follows. The fd may be closed right after; the object frees itself in a later loop iteration.
  void Close();

 private:
  struct State;
  explicit Readiness(State* state) : state_(state) {}
  ~Readiness() = default;

  State* state_;
};

}  // namespace tuntap

#endif  // TUNTAP_READINESS_H_
