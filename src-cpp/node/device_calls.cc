#include <cerrno>

#include "arguments.h"
#include "descriptor.h"
#include "linux/tun_ioctl.h"
#include "linux/tun_offload.h"
#include "port/virtio_reader.h"
#include "port/virtio_writer.h"

// What JavaScript calls for packets and devices.

namespace tuntap {
namespace {

// writePackets(descriptor, memory, start): packets that the kernel took, or -errno; the batch's header has
// the rest.
napi_value WritePacketsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Descriptor* descriptor = nullptr;
  BatchView batch;
  uint32_t start = 0;
  if (!TakeArguments(env, info, arguments) || !Unwrap(env, arguments[0], &descriptor) ||
      !TakeUint(env, arguments[2], &start)) {
    return RawResult(env, -EINVAL);
  }
  const int error = TakeBatch(env, arguments[1], &batch);
  if (error < 0) return RawResult(env, error);
  if (start > batch.count()) return RawResult(env, -EINVAL);
  descriptor->channel().Write(batch, start);
  return RawResult(env, batch.header()->packets);
}

// writePacket(descriptor, bytes): the packet's length or -errno.
napi_value WritePacketCall(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Descriptor* descriptor = nullptr;
  void* data = nullptr;
  size_t length = 0;
  if (!TakeArguments(env, info, arguments) || !Unwrap(env, arguments[0], &descriptor) ||
      napi_get_buffer_info(env, arguments[1], &data, &length) != napi_ok) {
    return RawResult(env, -EINVAL);
  }
  return RawResult(env, descriptor->channel().WriteOne(static_cast<const uint8_t*>(data), length));
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
  TunInterface interface { TextArgument(info, 1), static_cast<uint16_t>(IntArgument(info, 2)) };
  const int result = SetInterface(descriptor->channel().fd(), &interface);
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
  return Result(info, kFunction(IntArgument(info, 0), static_cast<Parameter>(value)));
}

// useOffloads(descriptor, ethernet, tcp, udp, headerSize): the fd has IFF_VNET_HDR; batches hold ordinary
// packets, and tcp and udp say what is coalesced when writing. Returns 0, or -EINVAL for a header of another
// size.
Napi::Value UseOffloadsCall(const Napi::CallbackInfo& info) {
  Descriptor* const descriptor = Descriptor::Unwrap(info[0].As<Napi::Object>());
  const auto link = info[1].ToBoolean() ? LinkLayer::kEthernet : LinkLayer::kIp;
  const CoalescedProtocols protocols{info[2].ToBoolean(), info[3].ToBoolean()};
  const size_t header_size = info[4].As<Napi::Number>().Uint32Value();
  if (header_size < sizeof(VirtioNetHeader) || header_size > kMaxVirtioHeaderSize)
    return Result(info, -EINVAL);
  descriptor->channel().SetPorts(std::make_unique<VirtioReader>(link, header_size),
                                 std::make_unique<VirtioWriter>(link, protocols, header_size));
  return Result(info, 0);
}

// adopt(fd): see Descriptor::Adopt.
Napi::Value AdoptCall(const Napi::CallbackInfo& info) {
  return Descriptor::Adopt(info.Env(), IntArgument(info, 0));
}

// attachFilter(fd, program): the program's instructions are 8 bytes each.
Napi::Value AttachFilterCall(const Napi::CallbackInfo& info) {
  const auto program = info[1].As<Napi::Uint8Array>();
  return Result(info, AttachFilter(IntArgument(info, 0), program.Data(), program.ByteLength() / 8));
}

// A number, or -errno.
template <int (*kFunction)(int)>
Napi::Value GetNumberCall(const Napi::CallbackInfo& info) {
  return Result(info, kFunction(IntArgument(info, 0)));
}

// setTxFilter(fd, addresses, allMulticast): the addresses are 6 bytes each.
Napi::Value SetTxFilterCall(const Napi::CallbackInfo& info) {
  const auto addresses = info[1].As<Napi::Uint8Array>();
  return Result(info, SetTxFilter(IntArgument(info, 0), addresses.Data(), addresses.ByteLength() / 6,
                                  info[2].ToBoolean()));
}

// deviceNamespace(fd): a Descriptor or -errno.
Napi::Value DeviceNamespaceCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), DeviceNamespace(IntArgument(info, 0)));
}

// getLinkMtu(socket, name), getLinkFlags, getLinkCarrier, getOffload: the property or -errno.
template <int (*kFunction)(int, const std::string&)>
Napi::Value LinkPropertyCall(const Napi::CallbackInfo& info) {
  return Result(info, kFunction(IntArgument(info, 0), TextArgument(info, 1)));
}

}  // namespace

void RegisterDeviceCalls(Napi::Env env, Napi::Object exports) {
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
  Export<LinkPropertyCall<GetOffload>>(env, exports, "getOffload");
  Export<AdoptCall>(env, exports, "adopt");
  Export<UseOffloadsCall>(env, exports, "useOffloads");
  Export<AttachFilterCall>(env, exports, "attachFilter");
  Export<GetNumberCall<DetachFilter>>(env, exports, "detachFilter");
  Export<SetTxFilterCall>(env, exports, "setTxFilter");
  Export<DeviceNamespaceCall>(env, exports, "deviceNamespace");
  Export<LinkPropertyCall<LinkMtu>>(env, exports, "getLinkMtu");
  Export<LinkPropertyCall<LinkFlags>>(env, exports, "getLinkFlags");
  Export<LinkPropertyCall<LinkCarrier>>(env, exports, "getLinkCarrier");
}

}  // namespace tuntap
