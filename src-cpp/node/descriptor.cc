#include "descriptor.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <set>

#include "linux/tun_offload.h"

namespace tuntap {
namespace {

// close(2) of a TUN device takes the kernel some 25 ms (netdev_wait_allrefs and RCU), so it is done on a
// thread of libuv's pool. Node waits for that work before an environment ends.
struct CloseWork {
  FileDescriptor fd;
  bool device = false;
  Napi::FunctionReference closed;
  napi_async_work work = nullptr;

  void Close() {
    if (device && fd.valid()) CloseQueue(fd.Release());
    fd.Reset();
  }

  static void Execute(napi_env, void* data) { static_cast<CloseWork*>(data)->Close(); }

  static void Complete(napi_env env, napi_status, void* data) {
    std::unique_ptr<CloseWork> self(static_cast<CloseWork*>(data));
    self->Close();  // where the work was cancelled
    napi_delete_async_work(env, self->work);
    napi_value global = nullptr;
    napi_get_global(env, &global);
    // What it throws is Node's to report; in an environment that is ending it does not run.
    (void)napi_call_function(env, global, self->closed.Value(), 0, nullptr, nullptr);
  }
};

// The fds of devices that Descriptors of this process have, in any thread. process.exit() ends no
// environment: then they are closed here.
class DeviceFds {
 public:
  ~DeviceFds() {
    for (const int fd : fds_) CloseQueue(fd);
  }
  bool Add(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return fds_.insert(fd).second;
  }
  void Remove(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    fds_.erase(fd);
  }

 private:
  std::mutex mutex_;
  std::set<int> fds_;
};

DeviceFds device_fds;

}  // namespace

void Descriptor::Register(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "Descriptor",
                                           {
                                               InstanceMethod<&Descriptor::Fd>("fd"),
                                               InstanceMethod<&Descriptor::Close>("close"),
                                               InstanceMethod<&Descriptor::Watch>("watch"),
                                               InstanceMethod<&Descriptor::ReadInto>("readInto"),
                                               InstanceMethod<&Descriptor::Arm>("arm"),
                                               InstanceMethod<&Descriptor::ReadPending>("readPending"),
                                               InstanceMethod<&Descriptor::Disarm>("disarm"),
                                               InstanceMethod<&Descriptor::SetReferenced>("setReferenced"),
                                           });
  // One constructor an environment: the addon is loaded once for the main thread and once for each worker.
  env.SetInstanceData(new Napi::FunctionReference(Napi::Persistent(constructor)));
  exports.Set("Descriptor", constructor);
}

Napi::Value Descriptor::Wrap(Napi::Env env, int fd) {
  FileDescriptor owner(fd);
  // Node-API itself: node-addon-api ends the process where a call fails because the worker is being
  // terminated.
  napi_value number = nullptr;
  if (napi_create_int32(env, fd, &number) != napi_ok) return Napi::Value();
  if (!owner.valid()) return {env, number};
  napi_value constructor = env.GetInstanceData<Napi::FunctionReference>()->Value();
  napi_value object = nullptr;
  if (napi_new_instance(env, constructor, 1, &number, &object) != napi_ok) return Napi::Value();
  (void)owner.Release();
  return {env, object};
}

Napi::Value Descriptor::Adopt(Napi::Env env, int fd) {
  if (!device_fds.Add(fd)) return Napi::Number::New(env, -EBUSY);
  const Napi::Value wrapped = Wrap(env, fd);
  if (wrapped.IsEmpty()) {
    device_fds.Remove(fd);
  } else {
    Descriptor* const descriptor = Unwrap(wrapped.As<Napi::Object>());
    descriptor->device_ = true;
    descriptor->borrowed_ = true;
  }
  return wrapped;
}

void Descriptor::SetDevice() {
  device_ = true;
  (void)device_fds.Add(fd_.get());
}

Descriptor::Descriptor(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Descriptor>(info) {
  if (info[0].IsNumber()) fd_ = FileDescriptor(info[0].As<Napi::Number>().Int32Value());
}

Descriptor::~Descriptor() { CloseNow(); }

// Ends the watch. Returns the fd if it is to be closed.
FileDescriptor Descriptor::TakeFd() {
  if (readiness_ != nullptr) std::exchange(readiness_, nullptr)->Close();
  if (device_ && fd_.valid()) device_fds.Remove(fd_.get());
  FileDescriptor fd = std::move(fd_);
  if (borrowed_) (void)fd.Release();
  return fd;
}

void Descriptor::CloseNow() {
  FileDescriptor fd = TakeFd();
  if (device_ && fd.valid()) CloseQueue(fd.Release());
}

Napi::Value Descriptor::Fd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), fd_.get());
}

void Descriptor::CloseLater(Napi::Env env, Napi::Function closed) {
  auto work = std::make_unique<CloseWork>();
  work->fd = TakeFd();
  work->device = device_;
  work->closed = Napi::Persistent(closed);
  napi_value name = Napi::String::New(env, "TUNTAP");
  if (napi_create_async_work(env, nullptr, name, CloseWork::Execute, CloseWork::Complete, work.get(),
                             &work->work) == napi_ok &&
      napi_queue_async_work(env, work->work) == napi_ok) {
    (void)work.release();
  }
}

Napi::Value Descriptor::Close(const Napi::CallbackInfo& info) {
  if (info[0].IsFunction()) {
    CloseLater(info.Env(), info[0].As<Napi::Function>());
  } else {
    CloseNow();
  }
  if (control_ == nullptr || control_[kInCallback] == 0) ReleaseAll();
  return info.Env().Undefined();
}

// Once closed. The garbage collector, which does not know how much a port holds, may come much later.
void Descriptor::ReleaseAll() {
  SetPort(std::make_unique<PlainPort>());
  callback_.Reset();
  memory_.Reset();
  context_.reset();
  control_array_.Reset();
  control_ = nullptr;
  counters_array_.Reset();
  counters_ = nullptr;
}

void Descriptor::CountRead(const Batch& batch) {
  const TableHeader& outcome = *batch.header();
  counters_[kPacketsRead] += outcome.packets;
  counters_[kBytesRead] += outcome.bytes;
  counters_[kMalformed] += outcome.malformed;
}

Napi::Value Descriptor::Watch(const Napi::CallbackInfo& info) {
  int result = -EINVAL;
  if (fd_.valid() && readiness_ == nullptr && info[0].IsFunction() && info[1].IsTypedArray() &&
      info[2].IsTypedArray()) {
    auto control = info[1].As<Napi::Int32Array>();
    auto counters = info[2].As<Napi::Float64Array>();
    if (control.ElementLength() <= kInCallback || counters.ElementLength() <= kMalformed) {
      return Napi::Number::New(info.Env(), -EINVAL);
    }
    control_array_ = Napi::Persistent(info[1].As<Napi::Object>());
    control_ = control.Data();
    counters_array_ = Napi::Persistent(info[2].As<Napi::Object>());
    counters_ = counters.Data();
    callback_ = Napi::Persistent(info[0].As<Napi::Function>());
    context_ = std::make_unique<Napi::AsyncContext>(info.Env(), "TUNTAP", info.This().As<Napi::Object>());
    result = Readiness::Create(info.Env(), fd_.get(), this, &readiness_);
    if (result == 0 && std::exchange(borrowed_, false)) (void)fcntl(fd_.get(), F_SETFD, FD_CLOEXEC);
  }
  return Napi::Number::New(info.Env(), result);
}

Napi::Value Descriptor::ReadInto(const Napi::CallbackInfo& info) {
  room_ = {info[1].As<Napi::Number>().Uint32Value(), info[2].As<Napi::Number>().Uint32Value()};
  memory_ = Napi::Persistent(info[0].As<Napi::Object>());
  return info.Env().Undefined();
}

// Returns 0 or -errno, as Batch::Take does. The user can detach an ArrayBuffer at any time.
int Descriptor::TakeBatch(Batch* batch) {
  void* memory = nullptr;
  size_t size = 0;
  const bool taken = napi_get_arraybuffer_info(Env(), memory_.Value(), &memory, &size) == napi_ok;
  return taken ? batch->Take(static_cast<uint8_t*>(memory), size) : -EFAULT;
}

// Reads into the batch, from the fd or what is pending. Returns kReadable, or -errno if the batch is none.
int Descriptor::ReadBatch(void (PacketPort::*read)(int, const Batch&, Room)) {
  if (memory_.IsEmpty()) return -EFAULT;
  Batch batch;
  const int error = TakeBatch(&batch);
  if (error < 0) return error;
  (port_.get()->*read)(fd_.get(), batch, room_);
  CountRead(batch);
  // Without this, a batch that JavaScript made full would be read into for ever.
  const TableHeader& outcome = *batch.header();
  return outcome.packets == 0 && outcome.error == 0 ? -EINVAL : kReadable;
}

// readPending(): appends what is pending to the batch; 0 or -errno.
Napi::Value Descriptor::ReadPending(const Napi::CallbackInfo& info) {
  const int result = counters_ == nullptr ? -EBADF : ReadBatch(&PacketPort::ReadPending);
  return Napi::Number::New(info.Env(), std::min(result, 0));
}

Napi::Value Descriptor::Arm(const Napi::CallbackInfo& info) {
  const int events = info[0].As<Napi::Number>().Int32Value();
  return Napi::Number::New(info.Env(), readiness_ == nullptr ? -EBADF : ArmReadiness(events));
}

// Where packets are pending, they are what can be read. Were the fd asked too, it would be read once more,
// while the reader is busy with them.
int Descriptor::ArmReadiness(int events) {
  const bool pending = (events & kReadable) && port_->Pending();
  const int result = readiness_->Arm(pending ? events & ~kReadable : events);
  return result == 0 && pending ? 1 : result;
}

Napi::Value Descriptor::Disarm(const Napi::CallbackInfo& info) {
  if (readiness_ != nullptr) readiness_->Disarm(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value Descriptor::SetReferenced(const Napi::CallbackInfo& info) {
  if (readiness_ != nullptr) readiness_->SetReferenced(info[0].ToBoolean());
  return info.Env().Undefined();
}

void Descriptor::OnReady(int events) {
  Napi::HandleScope scope(Env());
  [[maybe_unused]] const Napi::Object self = Value();  // keeps this object while the callback runs
  if (events & kFailed) port_->OnFailed(fd_.get());
  if ((events & kReadable) && !memory_.IsEmpty()) {
    const int result = ReadBatch(&PacketPort::Read);
    if (result < 0) events = result;
  }
  // It ends: each turn takes packets out of one super-packet, and an error ends the watch.
  while (Tell(events)) events = ReadBatch(&PacketPort::ReadPending);
}

// Calls JavaScript; returns whether it asked for kReadable, and packets are pending.
bool Descriptor::Tell(int events) {
  // Node-API itself: node-addon-api ends the process where a call fails without an exception, as this one
  // does while a worker is being terminated.
  napi_env env = Env();
  napi_value argument = nullptr;
  napi_create_int32(env, events, &argument);
  control_[kInCallback] = 1;
  const napi_status status =
      napi_make_callback(env, *context_, Value(), callback_.Value(), 1, &argument, nullptr);
  control_[kInCallback] = 0;
  const int armed = std::exchange(control_[kArm], 0);
  bool again = false;
  if (!fd_.valid()) {
    ReleaseAll();  // closed from within
  } else if (armed != 0 && events >= 0) {
    again = ArmReadiness(armed) == 1;  // can fail for an fd alone that uv_poll_init refuses
  }
  if (status != napi_pending_exception) return again && status == napi_ok;
  // No JavaScript stands below an event loop's callback: this is the process's uncaught exception.
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  return again && fd_.valid();  // its handler may have closed
}

}  // namespace tuntap
