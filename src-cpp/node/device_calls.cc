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

// Packets that the kernel took, or -errno; the batch's header has the rest.
int64_t WritePackets(Descriptor* descriptor, const BatchView& batch, uint32_t start) {
  if (start > batch.count()) return -EINVAL;
  descriptor->channel().Write(batch, start);
  return batch.header()->outcome.packets;
}

// The packet's length or -errno.
int64_t WriteBytes(Descriptor* descriptor, Bytes packet) {
  return descriptor->channel().WriteOne(packet.data, packet.size);
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

// The fd has IFF_VNET_HDR; batches hold ordinary packets, and tcp and udp say what is coalesced when writing.
// Returns 0, or -EINVAL for a header of another size.
int UseOffloads(Descriptor* descriptor, bool ethernet, bool tcp, bool udp, size_t header_size) {
  if (header_size < sizeof(VirtioNetHeader) || header_size > kMaxVirtioHeaderSize) return -EINVAL;
  const LinkLayer link = ethernet ? LinkLayer::kEthernet : LinkLayer::kIp;
  descriptor->channel().SetPorts(
      std::make_unique<VirtioReader>(link, header_size),
      std::make_unique<VirtioWriter>(link, CoalescedProtocols{tcp, udp}, header_size));
  return 0;
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
  Export<Call<WritePackets>>(env, exports, "writePackets");
  Export<Call<WriteBytes>>(env, exports, "writePacket");
  Export<SetInterfaceCall>(env, exports, "setInterface");
  Export<GetInterfaceCall>(env, exports, "getInterface");
  Export<AdoptCall>(env, exports, "adopt");
  Export<Call<UseOffloads>>(env, exports, "useOffloads");
  Export<Call<SetPersist>>(env, exports, "setPersist");
  Export<Call<SetOwner>>(env, exports, "setOwner");
  Export<Call<SetGroup>>(env, exports, "setGroup");
  Export<Call<SetSendBuffer>>(env, exports, "setSendBuffer");
  Export<Call<SetCarrier>>(env, exports, "setCarrier");
  Export<Call<SetOffload>>(env, exports, "setOffload");
  Export<Call<GetOffload>>(env, exports, "getOffload");
  Export<Call<SetVirtioHeaderSize>>(env, exports, "setVirtioHeaderSize");
  Export<Call<GetVirtioHeaderSize>>(env, exports, "getVirtioHeaderSize");
  Export<Call<CountQueues>>(env, exports, "countQueues");
  Export<Call<AttachProgram>>(env, exports, "attachFilter");
  Export<Call<DetachFilter>>(env, exports, "detachFilter");
  Export<Call<SetAddresses>>(env, exports, "setTxFilter");
  Export<Call<LinkMtu>>(env, exports, "getLinkMtu");
  Export<Call<LinkFlags>>(env, exports, "getLinkFlags");
  Export<Call<LinkCarrier>>(env, exports, "getLinkCarrier");
  Export<DescriptorCall<DeviceNamespace>>(env, exports, "deviceNamespace");
}

}  // namespace tuntap
