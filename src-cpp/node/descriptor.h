#pragma once

#include <napi.h>

#include <memory>

#include "port/batch_forwarder.h"
#include "port/channel.h"
#include "readiness_engine.h"

namespace tuntap {

// A Channel as a JavaScript object that can't leak its fd: close(), the garbage collector or the end of its
// environment (a worker that is terminated) closes it, whichever comes first.
//
// lib/native/descriptor.ts tells what its methods do. A batch of packets takes at most one call into
// JavaScript: they are read before the callback runs, and what it arms, by a write to memory, is armed when
// it ends. If packets are pending then and it armed kReadable, it is called again at once.
class Descriptor final : public Napi::ObjectWrap<Descriptor>, private Readiness::Listener {
 public:
  // Defines the class for an environment, whose descriptors the engine watches.
  static void Register(Napi::Env env, std::unique_ptr<ReadinessEngine> engine);

  // A Descriptor that owns `fd`, or the number `fd` itself if that is -errno.
  static Napi::Value Wrap(Napi::Env env, int fd);

  // A Descriptor of a device or socket that JavaScript was given the fd of, or -EBUSY if another Descriptor
  // of this process, in any thread, has it. The fd stays the giver's until watch() succeeds: closing leaves
  // it open.
  static Napi::Value Adopt(Napi::Env env, int fd);

  explicit Descriptor(const Napi::CallbackInfo& info);
  ~Descriptor() override;

  Channel& channel() { return channel_; }
  // The fd is of a device or socket, which nobody else may adopt. A device of /dev/net/tun is reset before
  // the last of its queues closes.
  void SetDevice();
  // What is read goes through `forwarder`, unless that is empty, first, and what JavaScript need not hear of
  // no further: reading goes on then. `keep` is kept alive as long. If that is answered at once, by packets
  // that `answering` (or nullptr) can read, they are read before JavaScript hears of anything.
  // While JavaScript records the packets of this descriptor or of `answering`, it gets them all instead.
  void SetForwarder(BatchForwarder forwarder, Napi::Object keep, Descriptor* answering);
  // Keeps memory that the channel's reader and writer use.
  void KeepMemory(Napi::Object memory) { port_memory_ = Napi::Persistent(memory); }

 private:
  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value CloseLater(const Napi::CallbackInfo& info);
  Napi::Value Watch(const Napi::CallbackInfo& info);
  Napi::Value ReadInto(const Napi::CallbackInfo& info);
  Napi::Value ReadPending(const Napi::CallbackInfo& info);
  Napi::Value Arm(const Napi::CallbackInfo& info);
  Napi::Value Disarm(const Napi::CallbackInfo& info);
  Napi::Value SetReferenced(const Napi::CallbackInfo& info);

  struct Environment;

  // Whether JavaScript records the packets, and so has to see them all.
  bool recording() const { return control_ != nullptr && control_[kRecording] != 0; }

  static Napi::Value Wrap(Napi::Env env, FileDescriptor fd);
  void OnReady(int events) override;
  void OnTeardown() override { (void)channel_.Close(); }
  void ReleaseAll();
  int ReadBatch(int (Channel::*read)(const BatchView&, Margins));
  int ReadAndForward();
  bool ReadEarly();
  void Deliver(int events);
  bool InvokeCallback(int events);

  Environment* environment_;
  Channel channel_{FileDescriptor()};
  bool borrowed_ = false;
  Napi::ObjectReference port_memory_;
  BatchForwarder forwarder_;
  Napi::ObjectReference forwarder_parts_;
  Descriptor* answering_ = nullptr;
  Forwarded forwarded_;  // what became of the last batch
  int asked_ = 0;        // the events that the last callback asked for
  Napi::FunctionReference callback_;
  std::unique_ptr<Napi::AsyncContext> context_;
  Napi::ObjectReference memory_;  // of the batch that packets are read into
  Margins margins_;
  // control_ stays in place while control_array_ holds it, since lib/ never detaches it.
  Napi::ObjectReference control_array_;
  int32_t* control_ = nullptr;
  Napi::ObjectReference counters_array_;
};

}  // namespace tuntap
