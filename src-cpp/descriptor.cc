#include "descriptor.h"

#include <cerrno>
#include <memory>

namespace tuntap {

void Descriptor::Register(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "Descriptor",
                                           {
                                               InstanceMethod<&Descriptor::Fd>("fd"),
                                               InstanceMethod<&Descriptor::Close>("close"),
                                               InstanceMethod<&Descriptor::Watch>("watch"),
                                               InstanceMethod<&Descriptor::Arm>("arm"),
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

Descriptor::Descriptor(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Descriptor>(info) {
  if (info[0].IsNumber()) fd_ = FileDescriptor(info[0].As<Napi::Number>().Int32Value());
}

Descriptor::~Descriptor() { CloseNow(); }

void Descriptor::CloseNow() {
  if (readiness_ != nullptr) std::exchange(readiness_, nullptr)->Close();
  fd_.Reset();
}

Napi::Value Descriptor::Fd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), fd_.get());
}

Napi::Value Descriptor::Close(const Napi::CallbackInfo& info) {
  CloseNow();
  if (!in_callback_) ReleaseCallback();
  return info.Env().Undefined();
}

void Descriptor::ReleaseCallback() {
  callback_.Reset();
  context_.reset();
}

Napi::Value Descriptor::Watch(const Napi::CallbackInfo& info) {
  int result = -EINVAL;
  if (fd_.valid() && readiness_ == nullptr && info[0].IsFunction()) {
    callback_ = Napi::Persistent(info[0].As<Napi::Function>());
    context_ = std::make_unique<Napi::AsyncContext>(info.Env(), "TUNTAP", info.This().As<Napi::Object>());
    result = Readiness::Create(info.Env(), fd_.get(), this, &readiness_);
  }
  return Napi::Number::New(info.Env(), result);
}

Napi::Value Descriptor::Arm(const Napi::CallbackInfo& info) {
  const int events = info[0].As<Napi::Number>().Int32Value();
  return Napi::Number::New(info.Env(), readiness_ == nullptr ? -EBADF : readiness_->Arm(events));
}

Napi::Value Descriptor::Disarm(const Napi::CallbackInfo& info) {
  if (readiness_ != nullptr) readiness_->Disarm();
  return info.Env().Undefined();
}

Napi::Value Descriptor::SetReferenced(const Napi::CallbackInfo& info) {
  if (readiness_ != nullptr) readiness_->SetReferenced(info[0].ToBoolean());
  return info.Env().Undefined();
}

void Descriptor::OnReady(int events) {
  // Node-API itself: node-addon-api ends the process where a call fails without an exception, as this one
  // does while a worker is being terminated.
  napi_env env = Env();
  Napi::HandleScope scope(env);
  Napi::Object self = Value();  // keeps this object while the callback runs
  napi_value argument = nullptr;
  napi_create_int32(env, events, &argument);
  in_callback_ = true;
  const napi_status status =
      napi_make_callback(env, *context_, self, callback_.Value(), 1, &argument, nullptr);
  in_callback_ = false;
  if (!fd_.valid()) ReleaseCallback();  // closed from within
  if (status != napi_pending_exception) return;
  // No JavaScript stands below an event loop's callback: this is the process's uncaught exception.
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

}  // namespace tuntap
