#ifndef TUNTAP_DESCRIPTOR_H_
#define TUNTAP_DESCRIPTOR_H_

#include <napi.h>

#include <memory>

#include "file_descriptor.h"
#include "readiness.h"

namespace tuntap {

// An open fd as a JavaScript object that can't leak it: close(), the garbage collector or the end of its
// environment (a worker that is terminated) closes it, whichever comes first.
//
// JavaScript: fd(), close(), watch(callback), arm(events), disarm(), setReferenced(boolean).
// What can fail returns -errno.
class Descriptor final : public Napi::ObjectWrap<Descriptor>, private Readiness::Listener {
 public:
  static void Register(Napi::Env env, Napi::Object exports);

  // A Descriptor that owns `fd`, or the number `fd` itself where that is -errno.
  static Napi::Value Wrap(Napi::Env env, int fd);

  explicit Descriptor(const Napi::CallbackInfo& info);
  ~Descriptor() override;

 private:
  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Watch(const Napi::CallbackInfo& info);
  Napi::Value Arm(const Napi::CallbackInfo& info);
  Napi::Value Disarm(const Napi::CallbackInfo& info);
  Napi::Value SetReferenced(const Napi::CallbackInfo& info);

  void OnReady(int events) override;
  void OnTeardown() override { CloseNow(); }
  void CloseNow();
  void ReleaseCallback();

  FileDescriptor fd_;
  Readiness* readiness_ = nullptr;
  Napi::FunctionReference callback_;
  std::unique_ptr<Napi::AsyncContext> context_;
  bool in_callback_ = false;
};

}  // namespace tuntap

#endif  // TUNTAP_DESCRIPTOR_H_
