#include <napi.h>

#include "bindings.h"
#include "descriptor.h"

namespace {

Napi::Object Initialize(Napi::Env env, Napi::Object exports) {
  tuntap::Descriptor::Register(env, exports);
  tuntap::RegisterDeviceBinding(env, exports);
  tuntap::RegisterNetworkBinding(env, exports);
  tuntap::RegisterUdpBinding(env, exports);
  tuntap::RegisterAeadBinding(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(tuntap_native, Initialize)
