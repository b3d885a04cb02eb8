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
  TunInterface interface { Argument<std::string>(info, 1), Argument<uint16_t>(info, 2) };
  const int result = SetInterface(descriptor->channel().fd(), &interface);
  if (result == 0) descriptor->SetDevice();
  return InterfaceOrErrno(info.Env(), result, interface);
}

// getInterface(fd): { name, flags } or -errno.
Napi::Value GetInterfaceCall(const Napi::CallbackInfo& info) {
  TunInterface interface;
  const int result = GetInterface(Argument<int>(info, 0), &interface);
  return InterfaceOrErrno(info.Env(), result, interface);
}

// useOffloads(descriptor, ethernet, tcp, udp, headerSize): the fd has IFF_VNET_HDR; batches hold ordinary
// packets, and tcp and udp say what is coalesced when writing. Returns 0, or -EINVAL for a header of another
// size.
Napi::Value UseOffloadsCall(const Napi::CallbackInfo& info) {
  Descriptor* const descriptor = Descriptor::Unwrap(info[0].As<Napi::Object>());
  const auto link = Argument<bool>(info, 1) ? LinkLayer::kEthernet : LinkLayer::kIp;
  const CoalescedProtocols protocols{Argument<bool>(info, 2), Argument<bool>(info, 3)};
  const auto size = Argument<size_t>(info, 4);
  if (size < sizeof(VirtioNetHeader) || size > kMaxVirtioHeaderSize) return Result(info, -EINVAL);
  descriptor->channel().SetPorts(std::make_unique<VirtioReader>(link, size),
                                 std::make_unique<VirtioWriter>(link, protocols, size));
  return Result(info, 0);
}

// adopt(fd): see Descriptor::Adopt.
Napi::Value AdoptCall(const Napi::CallbackInfo& info) {
  return Descriptor::Adopt(info.Env(), Argument<int>(info, 0));
}

// The program's instructions are 8 bytes each, the addresses 6.
int AttachProgram(int fd, Bytes program) { return AttachFilter(fd, program.data, program.size / 8); }
int SetAddresses(int fd, Bytes addresses, bool all_multicast) {
  return SetTxFilter(fd, addresses.data, addresses.size / 6, all_multicast);
}

}  // namespace

void RegisterDeviceCalls(Napi::Env env, Napi::Object exports) {
  ExportRaw(env, exports, "writePackets", WritePacketsCall);
  ExportRaw(env, exports, "writePacket", WritePacketCall);
  Export<SetInterfaceCall>(env, exports, "setInterface");
  Export<GetInterfaceCall>(env, exports, "getInterface");
  Export<AdoptCall>(env, exports, "adopt");
  Export<UseOffloadsCall>(env, exports, "useOffloads");
  Export<NumberCall<SetPersist>>(env, exports, "setPersist");
  Export<NumberCall<SetOwner>>(env, exports, "setOwner");
  Export<NumberCall<SetGroup>>(env, exports, "setGroup");
  Export<NumberCall<SetSendBuffer>>(env, exports, "setSendBuffer");
  Export<NumberCall<SetCarrier>>(env, exports, "setCarrier");
  Export<NumberCall<SetOffload>>(env, exports, "setOffload");
  Export<NumberCall<GetOffload>>(env, exports, "getOffload");
  Export<NumberCall<SetVirtioHeaderSize>>(env, exports, "setVirtioHeaderSize");
  Export<NumberCall<GetVirtioHeaderSize>>(env, exports, "getVirtioHeaderSize");
  Export<NumberCall<CountQueues>>(env, exports, "countQueues");
  Export<NumberCall<AttachProgram>>(env, exports, "attachFilter");
  Export<NumberCall<DetachFilter>>(env, exports, "detachFilter");
  Export<NumberCall<SetAddresses>>(env, exports, "setTxFilter");
  Export<NumberCall<LinkMtu>>(env, exports, "getLinkMtu");
  Export<NumberCall<LinkFlags>>(env, exports, "getLinkFlags");
  Export<NumberCall<LinkCarrier>>(env, exports, "getLinkCarrier");
  Export<DescriptorCall<DeviceNamespace>>(env, exports, "deviceNamespace");
}

}  // namespace tuntap
