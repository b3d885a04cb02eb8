#ifndef TUNTAP_BINDINGS_H_
#define TUNTAP_BINDINGS_H_

#include <napi.h>

#include "descriptor.h"

namespace tuntap {

void RegisterDeviceBinding(Napi::Env env, Napi::Object exports);
void RegisterNetworkBinding(Napi::Env env, Napi::Object exports);
void RegisterUdpBinding(Napi::Env env, Napi::Object exports);
void RegisterAeadBinding(Napi::Env env, Napi::Object exports);

template <Napi::Value (*kFunction)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<kFunction>(env, name));
}

}  // namespace tuntap

#endif  // TUNTAP_BINDINGS_H_
