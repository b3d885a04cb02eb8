#include <netinet/in.h>
#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

#include "bindings.h"
#include "linux/namespace.h"
#include "port/udp_batch.h"

// What JavaScript calls for UDP sockets. An address is the bytes of DatagramSlot::remote, slots are a
// Uint8Array of DatagramSlots.

namespace tuntap {
namespace {

int32_t IntArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

Napi::Value Result(const Napi::CallbackInfo& info, int result) {
  return Napi::Number::New(info.Env(), result < 0 ? -errno : result);
}

bool TakeAddress(const Napi::CallbackInfo& info, size_t index, uint8_t** address) {
  if (!info[index].IsTypedArray()) return false;
  auto bytes = info[index].As<Napi::Uint8Array>();
  *address = bytes.Data();
  return bytes.ByteLength() >= sizeof(DatagramSlot::remote);
}

// The slots in a typed array; none for null. Returns false for another thing, or one that was detached.
bool TakeSlots(napi_env env, napi_value value, Remotes* remotes) {
  napi_valuetype kind;
  if (napi_typeof(env, value, &kind) == napi_ok && kind == napi_null) return true;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array || reinterpret_cast<uintptr_t>(data) % alignof(DatagramSlot) != 0 ||
      length < sizeof(DatagramSlot)) {
    return false;
  }
  *remotes = {static_cast<DatagramSlot*>(data), length / sizeof(DatagramSlot)};
  return true;
}

// openUdpSocket(namespace, family): a Descriptor or -errno.
Napi::Value OpenUdpSocketCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(),
                          SocketIn(IntArgument(info, 0), IntArgument(info, 1), SOCK_DGRAM, IPPROTO_UDP));
}

// setSocketOption(fd, level, name, value): the value is a number, or a name such as SO_BINDTODEVICE's.
Napi::Value SetSocketOptionCall(const Napi::CallbackInfo& info) {
  const int fd = IntArgument(info, 0);
  const int level = IntArgument(info, 1);
  const int name = IntArgument(info, 2);
  if (info[3].IsString()) {
    const std::string text = info[3].As<Napi::String>().Utf8Value();
    return Result(info, setsockopt(fd, level, name, text.c_str(), static_cast<socklen_t>(text.size() + 1)));
  }
  const int value = IntArgument(info, 3);
  return Result(info, setsockopt(fd, level, name, &value, sizeof(value)));
}

// getSocketOption(fd, level, name): a number, or -errno.
Napi::Value GetSocketOptionCall(const Napi::CallbackInfo& info) {
  int value = 0;
  socklen_t length = sizeof(value);
  const int result =
      getsockopt(IntArgument(info, 0), IntArgument(info, 1), IntArgument(info, 2), &value, &length);
  return Result(info, result < 0 ? result : value);
}

template <int (*kCall)(int, const sockaddr*, socklen_t)>
Napi::Value AddressCall(const Napi::CallbackInfo& info) {
  uint8_t* address = nullptr;
  if (!TakeAddress(info, 2, &address)) return Napi::Number::New(info.Env(), -EINVAL);
  sockaddr_storage to{};
  const socklen_t length = ToSocketAddress(IntArgument(info, 1), address, &to);
  return Result(info, kCall(IntArgument(info, 0), reinterpret_cast<sockaddr*>(&to), length));
}

// socketAddress(fd, address): fills in what the socket is bound to.
Napi::Value SocketAddressCall(const Napi::CallbackInfo& info) {
  uint8_t* address = nullptr;
  if (!TakeAddress(info, 1, &address)) return Napi::Number::New(info.Env(), -EINVAL);
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  const int result = getsockname(IntArgument(info, 0), reinterpret_cast<sockaddr*>(&from), &length);
  if (result == 0) FromSocketAddress(from, address);
  return Result(info, result);
}

// attachUdp(descriptor, family, memory, maxSize): batches go through the socket from now on. The memory is a
// UdpState and a DatagramSlot for each entry of the batch that is read into.
Napi::Value AttachUdpCall(const Napi::CallbackInfo& info) {
  void* descriptor = nullptr;
  void* memory = nullptr;
  size_t size = 0;
  if (napi_unwrap(info.Env(), info[0], &descriptor) != napi_ok ||
      napi_get_arraybuffer_info(info.Env(), info[2], &memory, &size) != napi_ok || size < sizeof(UdpState)) {
    return Napi::Number::New(info.Env(), -EINVAL);
  }
  auto* bytes = static_cast<uint8_t*>(memory);
  auto port = std::make_unique<UdpPort>(IntArgument(info, 1), reinterpret_cast<UdpState*>(bytes),
                                        reinterpret_cast<DatagramSlot*>(bytes + sizeof(UdpState)),
                                        (size - sizeof(UdpState)) / sizeof(DatagramSlot),
                                        info[3].As<Napi::Number>().Uint32Value());
  static_cast<Descriptor*>(descriptor)
      ->SetPort(std::move(port), Napi::Persistent(info[2].As<Napi::Object>()));
  return Napi::Number::New(info.Env(), 0);
}

napi_value Number(napi_env env, int64_t number) {
  napi_value value = nullptr;
  napi_create_int64(env, number, &value);
  return value;
}

// writeDatagrams(descriptor, memory, start, slots): packets that the kernel took; the batch's header has the
// rest. One slot is for all of them, several for one each; without slots (null) all go to the connected peer.
napi_value WriteDatagramsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  size_t given = 4;
  void* descriptor = nullptr;
  void* memory = nullptr;
  size_t size = 0;
  uint32_t start = 0;
  if (napi_get_cb_info(env, info, &given, arguments, nullptr, nullptr) != napi_ok || given != 4 ||
      napi_unwrap(env, arguments[0], &descriptor) != napi_ok ||
      napi_get_arraybuffer_info(env, arguments[1], &memory, &size) != napi_ok ||
      napi_get_value_uint32(env, arguments[2], &start) != napi_ok) {
    return Number(env, -EINVAL);
  }
  Batch batch;
  Remotes remotes;
  const int error = batch.Take(static_cast<uint8_t*>(memory), size);
  if (error < 0) return Number(env, error);
  if (start > batch.header()->count || !TakeSlots(env, arguments[3], &remotes)) return Number(env, -EINVAL);
  static_cast<Descriptor*>(descriptor)->WriteTo(batch, start, remotes);
  return Number(env, batch.header()->packets);
}

// sendDatagram(descriptor, bytes, slot): 0 or -errno.
Napi::Value SendDatagramCall(const Napi::CallbackInfo& info) {
  void* descriptor = nullptr;
  Remotes remote;
  if (napi_unwrap(info.Env(), info[0], &descriptor) != napi_ok || !info[1].IsTypedArray() ||
      !TakeSlots(info.Env(), info[2], &remote)) {
    return Napi::Number::New(info.Env(), -EINVAL);
  }
  auto bytes = info[1].As<Napi::Uint8Array>();
  const DatagramSlot connected{};
  const int result =
      static_cast<Descriptor*>(descriptor)
          ->SendTo(bytes.Data(), bytes.ByteLength(), remote.slots == nullptr ? connected : *remote.slots);
  return Napi::Number::New(info.Env(), result);
}

struct Constant {
  const char* name;
  int value;
};

// SOL_SOCKET's differ between architectures (asm/socket.h).
#define CONSTANT(name) \
  { #name, name }
constexpr Constant kConstants[] = {
    CONSTANT(AF_INET),           CONSTANT(AF_INET6),
    CONSTANT(SOL_SOCKET),        CONSTANT(SOL_IP),
    CONSTANT(SOL_IPV6),          CONSTANT(SOL_UDP),
    CONSTANT(SO_REUSEADDR),      CONSTANT(SO_REUSEPORT),
    CONSTANT(SO_MARK),           CONSTANT(SO_BINDTODEVICE),
    CONSTANT(SO_RCVBUF),         CONSTANT(SO_RCVBUFFORCE),
    CONSTANT(SO_SNDBUF),         CONSTANT(SO_SNDBUFFORCE),
    CONSTANT(SO_RXQ_OVFL),       CONSTANT(IP_TOS),
    CONSTANT(IP_RECVTOS),        CONSTANT(IP_PKTINFO),
    CONSTANT(IP_RECVERR),        CONSTANT(IP_MTU),
    CONSTANT(IP_MTU_DISCOVER),   CONSTANT(IPV6_V6ONLY),
    CONSTANT(IPV6_TCLASS),       CONSTANT(IPV6_RECVTCLASS),
    CONSTANT(IPV6_RECVPKTINFO),  CONSTANT(IPV6_RECVERR),
    CONSTANT(IPV6_MTU),          CONSTANT(IPV6_MTU_DISCOVER),
    CONSTANT(UDP_SEGMENT),       CONSTANT(UDP_GRO),
    CONSTANT(IP_PMTUDISC_DONT),  CONSTANT(IP_PMTUDISC_DO),
    CONSTANT(IP_PMTUDISC_PROBE),
};
#undef CONSTANT

}  // namespace

void RegisterUdpBinding(Napi::Env env, Napi::Object exports) {
  Napi::Object constants = Napi::Object::New(env);
  for (const Constant& constant : kConstants) constants.Set(constant.name, constant.value);
  exports.Set("socketConstants", constants);
  Export<OpenUdpSocketCall>(env, exports, "openUdpSocket");
  Export<SetSocketOptionCall>(env, exports, "setSocketOption");
  Export<GetSocketOptionCall>(env, exports, "getSocketOption");
  Export<AddressCall<bind>>(env, exports, "bindSocket");
  Export<AddressCall<connect>>(env, exports, "connectSocket");
  Export<SocketAddressCall>(env, exports, "socketAddress");
  Export<AttachUdpCall>(env, exports, "attachUdp");
  napi_value write = nullptr;
  if (napi_create_function(env, "writeDatagrams", NAPI_AUTO_LENGTH, WriteDatagramsCall, nullptr, &write) ==
      napi_ok) {
    exports.Set("writeDatagrams", Napi::Value(env, write));
  }
  Export<SendDatagramCall>(env, exports, "sendDatagram");
}

}  // namespace tuntap
