#include "descriptor.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "arguments.h"
#include "async_call.h"
#include "linux/device_fds.h"

namespace tuntap {

// What the descriptors of one environment share: the addon is loaded once for the main thread and once for
// each worker.
struct Descriptor::Environment {
  Napi::FunctionReference constructor;
  std::unique_ptr<ReadinessEngine> engine;
  std::unordered_set<Descriptor*> descriptors;

  // Before the environment ends. Its objects may not be finalized: Deno does not.
  static void OnTeardown(void* data) {
    auto* self = static_cast<Environment*>(data);
    for (Descriptor* descriptor : std::exchange(self->descriptors, {})) {
      descriptor->environment_ = nullptr;
      (void)descriptor->channel_.Close();
    }
  }
};

void Descriptor::Register(Napi::Env env, std::unique_ptr<ReadinessEngine> engine) {
  Napi::Function constructor = DefineClass(env, "Descriptor",
                                           {
                                               InstanceMethod<&Descriptor::Fd>("fd"),
                                               InstanceMethod<&Descriptor::Close>("close"),
                                               InstanceMethod<&Descriptor::CloseLater>("closeLater"),
                                               InstanceMethod<&Descriptor::Watch>("watch"),
                                               InstanceMethod<&Descriptor::ReadInto>("readInto"),
                                               InstanceMethod<&Descriptor::Arm>("arm"),
                                               InstanceMethod<&Descriptor::ReadPending>("readPending"),
                                               InstanceMethod<&Descriptor::Disarm>("disarm"),
                                               InstanceMethod<&Descriptor::SetReferenced>("setReferenced"),
                                           });
  auto* environment = new Environment{Napi::Persistent(constructor), std::move(engine), {}};
  env.SetInstanceData(environment);
  (void)napi_add_env_cleanup_hook(env, Environment::OnTeardown, environment);
}

Napi::Value Descriptor::Wrap(Napi::Env env, int fd) {
  return fd < 0 ? Napi::Value(env, RawResult(env, fd)) : Wrap(env, FileDescriptor(fd));
}

Napi::Value Descriptor::Wrap(Napi::Env env, FileDescriptor fd) {
  // Node-API itself: this may run while a worker is being terminated.
  napi_value constructor = env.GetInstanceData<Environment>()->constructor.Value();
  napi_value object = nullptr;
  Descriptor* self = nullptr;
  if (napi_new_instance(env, constructor, 0, nullptr, &object) != napi_ok || Take(env, object, &self) < 0) {
    return {};
  }
  self->channel_ = Channel(std::move(fd));
  return {env, object};
}

Napi::Value Descriptor::Adopt(Napi::Env env, int fd) {
  if (!AddDeviceFd(fd)) return Napi::Number::New(env, -EBUSY);
  const Napi::Value wrapped = Wrap(env, FileDescriptor(fd, ForgetDeviceFd));
  if (!wrapped.IsEmpty()) Unwrap(wrapped.As<Napi::Object>())->borrowed_ = true;
  return wrapped;
}

void Descriptor::SetDevice() {
  if (AddDeviceFd(channel_.fd())) channel_.set_closer(CloseDeviceFd);
}

Descriptor::Descriptor(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Descriptor>(info), environment_(info.Env().GetInstanceData<Environment>()) {
  environment_->descriptors.insert(this);
}

Descriptor::~Descriptor() {
  (void)channel_.Close();
  if (environment_ != nullptr) environment_->descriptors.erase(this);
}

Napi::Value Descriptor::Fd(const Napi::CallbackInfo& info) { return Result(info, channel_.fd()); }

Napi::Value Descriptor::Close(const Napi::CallbackInfo& info) {
  (void)channel_.Close();
  ReleaseAll();
  return info.Env().Undefined();
}

// close(2) of a TUN device takes the kernel some 25 ms (netdev_wait_allrefs and RCU), so it is done on a
// thread of libuv's pool. Node waits for that work before an environment ends.
Napi::Value Descriptor::CloseLater(const Napi::CallbackInfo& info) {
  auto fd = std::make_shared<FileDescriptor>(channel_.Close());
  ReleaseAll();
  const auto close = [fd = std::move(fd)] {
    fd->Reset();
    return 0;
  };
  return {info.Env(), AsyncCall<int>::Start(info.Env(), close, RawResult<int>)};
}

// Once closed, unless the callback runs. The garbage collector, which does not know how much the channel
// holds, may come much later.
void Descriptor::ReleaseAll() {
  if (control_ != nullptr && control_[kInCallback] != 0) return;
  channel_ = Channel(FileDescriptor());
  SetForwarder(nullptr, {}, nullptr);
  port_memory_.Reset();
  callback_.Reset();
  memory_.Reset();
  context_.reset();
  control_array_.Reset();
  control_ = nullptr;
  counters_array_.Reset();
}

Napi::Value Descriptor::Watch(const Napi::CallbackInfo& info) {
  if (channel_.fd() < 0 || channel_.watched() || !info[0].IsFunction() || !info[1].IsTypedArray() ||
      !info[2].IsTypedArray()) {
    return Result(info, -EINVAL);
  }
  auto control = info[1].As<Napi::Int32Array>();
  auto counters = info[2].As<Napi::Float64Array>();
  if (control.ElementLength() < kControlWords || counters.ElementLength() < kCounters) {
    return Result(info, -EINVAL);
  }
  Readiness* readiness = nullptr;
  const int result = environment_->engine->Watch(channel_.fd(), this, &readiness);
  if (result < 0) return Result(info, result);
  control_array_ = Napi::Persistent(info[1].As<Napi::Object>());
  control_ = control.Data();
  counters_array_ = Napi::Persistent(info[2].As<Napi::Object>());
  callback_ = Napi::Persistent(info[0].As<Napi::Function>());
  context_ = std::make_unique<Napi::AsyncContext>(info.Env(), "TUNTAP", info.This().As<Napi::Object>());
  channel_.Watch(readiness, counters.Data());
  if (std::exchange(borrowed_, false)) {
    channel_.set_closer(CloseDeviceFd);
    (void)fcntl(channel_.fd(), F_SETFD, FD_CLOEXEC);
  }
  return Result(info, 0);
}

Napi::Value Descriptor::ReadInto(const Napi::CallbackInfo& info) {
  margins_ = {Argument<uint32_t>(info, 1), Argument<uint32_t>(info, 2)};
  memory_ = Napi::Persistent(info[0].As<Napi::Object>());
  return info.Env().Undefined();
}

int Descriptor::ReadBatch(int (Channel::*read)(const BatchView&, Margins)) {
  if (memory_.IsEmpty()) return -EFAULT;
  BatchView batch;
  const int error = Take(Env(), memory_.Value(), &batch);
  if (error < 0) return error;
  const int events = (channel_.*read)(batch, margins_);
  const bool recorded = recording() || (answering_ != nullptr && answering_->recording());
  forwarded_ = events > 0 && forwarder_ && !recorded ? forwarder_(batch) : Forwarded();
  return events;
}

// Reads a batch, and what is pending behind it as long as JavaScript need not hear of it. Returns kReadable
// if it has to, 0 if the fd is armed again, or -errno.
int Descriptor::ReadAndForward() {
  int result = ReadBatch(&Channel::Read);
  while (result >= 0 && !forwarded_.told) {
    result = channel_.Arm(kReadable);
    if (result <= 0) break;
    result = ReadBatch(&Channel::ReadPending);
  }
  return result;
}

void Descriptor::SetForwarder(BatchForwarder forwarder, Napi::Object keep, Descriptor* answering) {
  forwarder_ = std::move(forwarder);
  forwarder_parts_ = keep.IsEmpty() ? Napi::ObjectReference() : Napi::Persistent(keep);
  answering_ = answering;
}

// Reads what there is before an event tells of it; returns whether that is a batch to deliver.
bool Descriptor::ReadEarly() {
  if (!channel_.IsArmed(kReadable) || memory_.IsEmpty() || ReadAndForward() <= 0) return false;
  BatchView batch;
  return Take(Env(), memory_.Value(), &batch) == 0 && batch.header()->outcome.packets > 0;
}

Napi::Value Descriptor::ReadPending(const Napi::CallbackInfo& info) {
  const int result = channel_.watched() ? ReadBatch(&Channel::ReadPending) : -EBADF;
  return Result(info, std::min(result, 0));
}

Napi::Value Descriptor::Arm(const Napi::CallbackInfo& info) {
  return Result(info, channel_.Arm(Argument<int>(info, 0)));
}

Napi::Value Descriptor::Disarm(const Napi::CallbackInfo& info) {
  channel_.Disarm(Argument<int>(info, 0));
  return info.Env().Undefined();
}

Napi::Value Descriptor::SetReferenced(const Napi::CallbackInfo& info) {
  if (channel_.watched()) channel_.SetReferenced(Argument<bool>(info, 0));
  return info.Env().Undefined();
}

void Descriptor::OnReady(int events) {
  Napi::HandleScope scope(Env());
  [[maybe_unused]] const Napi::Object self = Value();  // keeps this object while the callback runs
  if (events & kFailed) channel_.OnFailed();
  forwarded_ = {};
  if ((events & kReadable) && !memory_.IsEmpty()) {
    const int result = ReadAndForward();
    if (result < 0) events = result;
    if (result == 0) events &= ~kReadable;
  }
  Descriptor* const early =
      forwarded_.answered && answering_ != nullptr && answering_->ReadEarly() ? answering_ : nullptr;
  [[maybe_unused]] const Napi::Object answering = early == nullptr ? Napi::Object() : early->Value();
  if (events != 0) Deliver(events);
  if (early == nullptr || !early->channel_.watched()) return;
  early->Deliver(kReadable);
  // As after an event. Deno runs what waits for the batch later, and until then nothing may be read into it.
  if (early->channel_.watched() && (early->asked_ & kReadable) == 0) early->channel_.Disarm(kReadable);
}

void Descriptor::Deliver(int events) {
  // It ends: each turn takes packets out of one super-packet. On an error, lib/ gives up or names other
  // memory.
  while (InvokeCallback(events)) events = ReadBatch(&Channel::ReadPending);
}

// Returns whether the callback asked for kReadable, and packets are pending.
bool Descriptor::InvokeCallback(int events) {
  // Node-API itself: this may run while a worker is being terminated.
  napi_env env = Env();
  napi_value argument = RawResult(env, events);
  napi_value unused = nullptr;  // Deno writes the result even through a null pointer
  control_[kInCallback] = 1;
  const napi_status status =
      napi_make_callback(env, *context_, Value(), callback_.Value(), 1, &argument, &unused);
  control_[kInCallback] = 0;
  const int armed = asked_ = std::exchange(control_[kArm], 0);
  bool again = false;
  if (channel_.fd() < 0) {
    ReleaseAll();  // closed from within
  } else if (armed != 0) {
    again = channel_.Arm(armed) == 1;  // can fail for an fd alone that uv_poll_init refuses
  }
  if (status != napi_pending_exception) return again && status == napi_ok;
  // No JavaScript stands below an event loop's callback: this is the process's uncaught exception.
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  return again && channel_.fd() >= 0;  // its handler may have closed
}

}  // namespace tuntap
