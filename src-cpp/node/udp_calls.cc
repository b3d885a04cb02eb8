#include <netinet/in.h>
#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "descriptor.h"
#include "linux/namespace.h"

// What JavaScript calls for UDP sockets. An address is the bytes of DatagramEntry::remote, entries are a
// Uint8Array of DatagramEntrys.

namespace tuntap {
namespace {

Napi::Value ResultOrErrno(const Napi::CallbackInfo& info, int result) {
  return Result(info, result < 0 ? -errno : result);
}

bool TakeAddress(const Napi::CallbackInfo& info, size_t index, uint8_t** address) {
  if (!info[index].IsTypedArray()) return false;
  auto bytes = info[index].As<Napi::Uint8Array>();
  *address = bytes.Data();
  return bytes.ByteLength() >= sizeof(DatagramEntry::remote);
}

// The entries in a typed array; none for null. Returns false for another thing, or one that was detached.
bool TakeEntries(napi_env env, napi_value value, Remotes* remotes) {
  napi_valuetype kind;
  if (napi_typeof(env, value, &kind) == napi_ok && kind == napi_null) return true;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array || reinterpret_cast<uintptr_t>(data) % alignof(DatagramEntry) != 0 ||
      length < sizeof(DatagramEntry)) {
    return false;
  }
  *remotes = {static_cast<DatagramEntry*>(data), length / sizeof(DatagramEntry)};
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
    return ResultOrErrno(info,
                         setsockopt(fd, level, name, text.c_str(), static_cast<socklen_t>(text.size() + 1)));
  }
  const int value = IntArgument(info, 3);
  return ResultOrErrno(info, setsockopt(fd, level, name, &value, sizeof(value)));
}

// getSocketOption(fd, level, name): a number, or -errno.
Napi::Value GetSocketOptionCall(const Napi::CallbackInfo& info) {
  int value = 0;
  socklen_t length = sizeof(value);
  const int result =
      getsockopt(IntArgument(info, 0), IntArgument(info, 1), IntArgument(info, 2), &value, &length);
  return ResultOrErrno(info, result < 0 ? result : value);
}

template <int (*kCall)(int, const sockaddr*, socklen_t)>
Napi::Value AddressCall(const Napi::CallbackInfo& info) {
  uint8_t* address = nullptr;
  if (!TakeAddress(info, 2, &address)) return Result(info, -EINVAL);
  sockaddr_storage to{};
  const socklen_t length = ToSocketAddress(IntArgument(info, 1), address, &to);
  return ResultOrErrno(info, kCall(IntArgument(info, 0), reinterpret_cast<sockaddr*>(&to), length));
}

// socketAddress(fd, address): fills in what the socket is bound to.
Napi::Value SocketAddressCall(const Napi::CallbackInfo& info) {
  uint8_t* address = nullptr;
  if (!TakeAddress(info, 1, &address)) return Result(info, -EINVAL);
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  const int result = getsockname(IntArgument(info, 0), reinterpret_cast<sockaddr*>(&from), &length);
  if (result == 0) FromSocketAddress(from, address);
  return ResultOrErrno(info, result);
}

// attachUdp(descriptor, family, memory, maxSize): batches go through the socket from now on. The memory is a
// UdpState and a DatagramEntry for each entry of the batch that is read into.
Napi::Value AttachUdpCall(const Napi::CallbackInfo& info) {
  Descriptor* descriptor = nullptr;
  void* memory = nullptr;
  size_t size = 0;
  if (!Unwrap(info.Env(), info[0], &descriptor) ||
      napi_get_arraybuffer_info(info.Env(), info[2], &memory, &size) != napi_ok || size < sizeof(UdpState)) {
    return Result(info, -EINVAL);
  }
  const int family = IntArgument(info, 1);
  auto* state = static_cast<UdpState*>(memory);
  auto receiver = std::make_unique<UdpReceiver>(state, reinterpret_cast<DatagramEntry*>(state + 1),
                                                (size - sizeof(UdpState)) / sizeof(DatagramEntry),
                                                info[3].As<Napi::Number>().Uint32Value());
  descriptor->channel().SetUdp(std::move(receiver), std::make_unique<UdpSender>(family, state));
  descriptor->KeepMemory(info[2].As<Napi::Object>());
  return Result(info, 0);
}

// writeDatagrams(descriptor, memory, start, entries): packets that the kernel took, or -errno; the batch's
// header has the rest. One entry is for all of them, several for one each; without entries (null) all go to
// the connected peer.
napi_value WriteDatagramsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Descriptor* descriptor = nullptr;
  BatchView batch;
  uint32_t start = 0;
  Remotes remotes;
  if (!TakeArguments(env, info, arguments) || !Unwrap(env, arguments[0], &descriptor) ||
      !TakeUint(env, arguments[2], &start) || !TakeEntries(env, arguments[3], &remotes)) {
    return RawResult(env, -EINVAL);
  }
  int error = TakeBatch(env, arguments[1], &batch);
  if (error == 0)
    error = start > batch.count() ? -EINVAL : descriptor->channel().WriteTo(batch, start, remotes);
  return RawResult(env, error < 0 ? error : int64_t{batch.header()->packets});
}

// sendDatagram(descriptor, bytes, entry): 0 or -errno.
napi_value SendDatagramCall(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Descriptor* descriptor = nullptr;
  void* data = nullptr;
  size_t length = 0;
  Remotes remote;
  if (!TakeArguments(env, info, arguments) || !Unwrap(env, arguments[0], &descriptor) ||
      napi_get_buffer_info(env, arguments[1], &data, &length) != napi_ok ||
      !TakeEntries(env, arguments[2], &remote)) {
    return RawResult(env, -EINVAL);
  }
  const DatagramEntry connected{};
  const DatagramEntry& entry = remote.entries == nullptr ? connected : *remote.entries;
  return RawResult(env, descriptor->channel().SendTo(static_cast<const uint8_t*>(data), length, entry));
}

struct Constant {
  const char* name;
  int value;
};

// SOL_SOCKET's differ between architectures (asm/socket.h).
#define CONSTANT(name) \
  { #name, name }
constexpr Constant kConstants[] = {
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

void RegisterUdpCalls(Napi::Env env, Napi::Object exports) {
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
  ExportRaw(env, exports, "writeDatagrams", WriteDatagramsCall);
  ExportRaw(env, exports, "sendDatagram", SendDatagramCall);
}

}  // namespace tuntap
