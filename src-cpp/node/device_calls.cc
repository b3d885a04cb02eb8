#include <cerrno>

#include "bindings.h"
#include "linux/tun_ioctl.h"
#include "linux/tun_offload.h"
#include "port/offload_port.h"
#include "port/packet_io.h"

// What JavaScript calls for packets and devices. Arguments are checked for type by TypeScript, and for
// memory safety here.

namespace tuntap {
namespace {

int32_t IntArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

// The hot functions use Node-API itself: CallbackInfo's bookkeeping costs as much as the call.
template <size_t kCount>
bool TakeArguments(napi_env env, napi_callback_info info, napi_value (&arguments)[kCount]) {
  size_t count = kCount;
  return napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) == napi_ok && count == kCount;
}

bool TakeUint(napi_env env, napi_value value, uint32_t* out) {
  return napi_get_value_uint32(env, value, out) == napi_ok;
}

napi_value Number(napi_env env, int64_t number) {
  napi_value value = nullptr;
  napi_create_int64(env, number, &value);
  return value;
}

// writePackets(descriptor, memory, start): packets that the kernel took; the batch's header has the rest.
napi_value WritePacketsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  void* descriptor = nullptr;
  void* memory = nullptr;
  size_t size = 0;
  Batch batch;
  uint32_t start = 0;
  // A detached ArrayBuffer has no memory; the user may have done that since the last call.
  if (!TakeArguments(env, info, arguments) || napi_unwrap(env, arguments[0], &descriptor) != napi_ok ||
      napi_get_arraybuffer_info(env, arguments[1], &memory, &size) != napi_ok ||
      !TakeUint(env, arguments[2], &start)) {
    return Number(env, -EINVAL);
  }
  const int error = batch.Take(static_cast<uint8_t*>(memory), size);
  if (error < 0) return Number(env, error);
  if (start > batch.header()->count) return Number(env, -EINVAL);
  static_cast<Descriptor*>(descriptor)->Write(batch, start);
  return Number(env, batch.header()->packets);
}

// writePacket(descriptor, bytes): the packet's length or -errno.
napi_value WritePacketCall(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  void* descriptor = nullptr;
  void* data = nullptr;
  size_t length = 0;
  if (!TakeArguments(env, info, arguments) || napi_unwrap(env, arguments[0], &descriptor) != napi_ok ||
      napi_get_buffer_info(env, arguments[1], &data, &length) != napi_ok) {
    return Number(env, -EINVAL);
  }
  return Number(env,
                static_cast<Descriptor*>(descriptor)->WriteOne(static_cast<const uint8_t*>(data), length));
}

Napi::Value InterfaceOrErrno(Napi::Env env, int result, const TunInterface& interface) {
  if (result < 0) return Napi::Number::New(env, result);
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", interface.name);
  object.Set("flags", interface.flags);
  return object;
}

// setInterface(descriptor, name, flags): { name, flags } or -errno.
Napi::Value SetInterfaceCall(const Napi::CallbackInfo& info) {
  Descriptor* const descriptor = Descriptor::Unwrap(info[0].As<Napi::Object>());
  TunInterface interface {
    info[1].As<Napi::String>().Utf8Value(), static_cast<uint16_t>(IntArgument(info, 2))
  };
  const int result = SetInterface(descriptor->fd(), &interface);
  if (result == 0) descriptor->SetDevice();
  return InterfaceOrErrno(info.Env(), result, interface);
}

// getInterface(fd): { name, flags } or -errno.
Napi::Value GetInterfaceCall(const Napi::CallbackInfo& info) {
  TunInterface interface;
  const int result = GetInterface(IntArgument(info, 0), &interface);
  return InterfaceOrErrno(info.Env(), result, interface);
}

template <typename Parameter, int (*kFunction)(int, Parameter)>
Napi::Value SetNumberCall(const Napi::CallbackInfo& info) {
  const int64_t value = info[1].As<Napi::Number>().Int64Value();
  return Napi::Number::New(info.Env(), kFunction(IntArgument(info, 0), static_cast<Parameter>(value)));
}

// useOffloads(descriptor, ethernet, tcp, udp, headerSize): the fd has IFF_VNET_HDR; batches hold ordinary
// packets, and tcp and udp say what is coalesced when writing. Returns 0, or -EINVAL for a header of another
// size.
Napi::Value UseOffloadsCall(const Napi::CallbackInfo& info) {
  Descriptor* const descriptor = Descriptor::Unwrap(info[0].As<Napi::Object>());
  const auto link = info[1].ToBoolean() ? LinkLayer::kEthernet : LinkLayer::kIp;
  const CoalescedProtocols protocols{info[2].ToBoolean(), info[3].ToBoolean()};
  const size_t header_size = info[4].As<Napi::Number>().Uint32Value();
  const bool fits = header_size >= sizeof(VirtioNetHeader) && header_size <= kMaxVirtioHeaderSize;
  if (!fits) return Napi::Number::New(info.Env(), -EINVAL);
  descriptor->SetPort(std::make_unique<OffloadPort>(link, protocols, header_size));
  return Napi::Number::New(info.Env(), 0);
}

// adopt(fd): see Descriptor::Adopt.
Napi::Value AdoptCall(const Napi::CallbackInfo& info) {
  return Descriptor::Adopt(info.Env(), IntArgument(info, 0));
}

// getOffload(socket, name): bits of TUN_F_*, or -errno.
Napi::Value GetOffloadCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           GetOffload(IntArgument(info, 0), info[1].As<Napi::String>().Utf8Value()));
}

template <int (*kFunction)(int)>
Napi::Value GetNumberCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), kFunction(IntArgument(info, 0)));
}

// attachFilter(fd, program): the program's instructions are 8 bytes each.
Napi::Value AttachFilterCall(const Napi::CallbackInfo& info) {
  const auto program = info[1].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(),
                           AttachFilter(IntArgument(info, 0), program.Data(), program.ByteLength() / 8));
}

// setTxFilter(fd, addresses, allMulticast): the addresses are 6 bytes each.
Napi::Value SetTxFilterCall(const Napi::CallbackInfo& info) {
  const auto addresses = info[1].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(), SetTxFilter(IntArgument(info, 0), addresses.Data(),
                                                   addresses.ByteLength() / 6, info[2].ToBoolean()));
}

// deviceNamespace(fd): a Descriptor or -errno.
Napi::Value DeviceNamespaceCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), DeviceNamespace(IntArgument(info, 0)));
}

// getLinkMtu(socket, name), getLinkFlags, getLinkCarrier: the property or -errno.
template <int (*kFunction)(int, const std::string&)>
Napi::Value LinkPropertyCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           kFunction(IntArgument(info, 0), info[1].As<Napi::String>().Utf8Value()));
}

void ExportRaw(Napi::Env env, Napi::Object exports, const char* name, napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) == napi_ok) {
    exports.Set(name, Napi::Value(env, value));
  }
}

}  // namespace

void RegisterDeviceBinding(Napi::Env env, Napi::Object exports) {
  ExportRaw(env, exports, "writePackets", WritePacketsCall);
  ExportRaw(env, exports, "writePacket", WritePacketCall);
  Export<SetInterfaceCall>(env, exports, "setInterface");
  Export<GetInterfaceCall>(env, exports, "getInterface");
  Export<SetNumberCall<bool, SetPersist>>(env, exports, "setPersist");
  Export<SetNumberCall<uint32_t, SetOwner>>(env, exports, "setOwner");
  Export<SetNumberCall<uint32_t, SetGroup>>(env, exports, "setGroup");
  Export<SetNumberCall<int, SetSendBuffer>>(env, exports, "setSendBuffer");
  Export<SetNumberCall<bool, SetCarrier>>(env, exports, "setCarrier");
  Export<SetNumberCall<uint32_t, SetOffload>>(env, exports, "setOffload");
  Export<SetNumberCall<int, SetVirtioHeaderSize>>(env, exports, "setVirtioHeaderSize");
  Export<GetNumberCall<GetVirtioHeaderSize>>(env, exports, "getVirtioHeaderSize");
  Export<GetNumberCall<CountQueues>>(env, exports, "countQueues");
  Export<GetOffloadCall>(env, exports, "getOffload");
  Export<AdoptCall>(env, exports, "adopt");
  Export<UseOffloadsCall>(env, exports, "useOffloads");
  Export<AttachFilterCall>(env, exports, "attachFilter");
  Export<GetNumberCall<DetachFilter>>(env, exports, "detachFilter");
  Export<SetTxFilterCall>(env, exports, "setTxFilter");
  Export<DeviceNamespaceCall>(env, exports, "deviceNamespace");
  Export<LinkPropertyCall<LinkMtu>>(env, exports, "getLinkMtu");
  Export<LinkPropertyCall<LinkFlags>>(env, exports, "getLinkFlags");
  Export<LinkPropertyCall<LinkCarrier>>(env, exports, "getLinkCarrier");
  exports.Set("maxPacketSize", static_cast<double>(kMaxPacketSize));
  exports.Set("maxTransferSize", static_cast<double>(kMaxTransferSize));
}

}  // namespace tuntap
