#pragma once

#include "batch/layout.h"

namespace tuntap {

// Watches one fd on an event loop.
class Readiness {
 public:
  class Listener {
   public:
    // On the JavaScript thread, with ReadyEvents.
    virtual void OnReady(int events) = 0;
    // The environment is being torn down: the listener calls Close() before it returns.
    virtual void OnTeardown() = 0;

   protected:
    ~Listener() = default;
  };

  // Asks for one OnReady call when any of `events` holds. What OnReady was told of is off after it, unless it
  // armed that again. Arming again from within costs fewest system calls. Returns 0 or -errno.
  [[nodiscard]] virtual int Arm(int events) = 0;
  [[nodiscard]] virtual bool IsArmed(int events) const = 0;
  // Takes Arm back.
  virtual void Disarm(int events) = 0;

  // Whether an armed watch keeps the event loop alive; it does at first.
  virtual void SetReferenced(bool referenced) = 0;

  // No call follows. The fd may be closed right after; the object frees itself.
  virtual void Close() = 0;

 protected:
  ~Readiness() = default;
};

}  // namespace tuntap
