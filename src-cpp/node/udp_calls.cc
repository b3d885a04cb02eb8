#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "descriptor.h"
#include "linux/namespace.h"

// What JavaScript calls for UDP sockets. An address is the bytes of DatagramEntry::remote, entries are a
// Uint8Array of DatagramEntrys.

namespace tuntap {
namespace {

bool IsAddress(Bytes bytes) { return bytes.size >= sizeof(DatagramEntry::remote); }

// The entries in a typed array; none for null. Returns false for another thing, or one that was detached.
bool TakeEntries(napi_env env, napi_value value, Remotes* remotes) {
  if (IsNull(env, value)) return true;
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

// An fd, or -errno.
int OpenUdpSocket(int namespace_fd, int family) {
  return SocketIn(namespace_fd, family, SOCK_DGRAM, IPPROTO_UDP);
}

// setSocketOption(fd, level, name, value): the value is a number, or a name such as SO_BINDTODEVICE's.
Napi::Value SetSocketOptionCall(const Napi::CallbackInfo& info) {
  const bool is_text = info[3].IsString();
  const std::string text = is_text ? Argument<std::string>(info, 3) : "";
  const int number = is_text ? 0 : Argument<int>(info, 3);
  const void* const value = is_text ? static_cast<const void*>(text.c_str()) : &number;
  const size_t size = is_text ? text.size() + 1 : sizeof(number);
  const int result = setsockopt(Argument<int>(info, 0), Argument<int>(info, 1), Argument<int>(info, 2), value,
                                static_cast<socklen_t>(size));
  return Result(info, result < 0 ? -errno : result);
}

int GetSocketOption(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof(value);
  return getsockopt(fd, level, name, &value, &length) < 0 ? -errno : value;
}

template <int (*kCall)(int, const sockaddr*, socklen_t)>
int AddressCall(int fd, int family, Bytes address) {
  if (!IsAddress(address)) return -EINVAL;
  sockaddr_storage to{};
  const socklen_t length = ToSocketAddress(family, address.data, &to);
  return kCall(fd, reinterpret_cast<sockaddr*>(&to), length) < 0 ? -errno : 0;
}

// Fills in an address of the socket.
template <int (*kCall)(int, sockaddr*, socklen_t*)>
int GetAddress(int fd, Bytes address) {
  if (!IsAddress(address)) return -EINVAL;
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  if (kCall(fd, reinterpret_cast<sockaddr*>(&from), &length) < 0) return -errno;
  FromSocketAddress(from, address.data);
  return 0;
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
  auto* state = static_cast<UdpState*>(memory);
  auto receiver = std::make_unique<UdpReceiver>(state, reinterpret_cast<DatagramEntry*>(state + 1),
                                                (size - sizeof(UdpState)) / sizeof(DatagramEntry),
                                                Argument<uint32_t>(info, 3));
  auto sender = std::make_unique<UdpSender>(Argument<int>(info, 1), state);
  descriptor->channel().SetUdp(std::move(receiver), std::move(sender));
  descriptor->SetDevice();
  descriptor->KeepMemory(info[2].As<Napi::Object>());
  return Result(info, 0);
}

// writeDatagrams(descriptor, memory, start, entries, runs, runCount): packets that the kernel took, or
// -errno; the batch's header has the rest. One entry is for all of them, several for one each, or with runs
// (else null) for one run each; without entries (null) all go to the connected peer.
napi_value WriteDatagramsCall(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  Descriptor* descriptor = nullptr;
  BatchView batch;
  uint32_t start = 0;
  uint32_t run_count = 0;
  Remotes remotes;
  if (!TakeArguments(env, info, arguments) || !Unwrap(env, arguments[0], &descriptor) ||
      !TakeUint(env, arguments[2], &start) || !TakeEntries(env, arguments[3], &remotes) ||
      !TakeUint(env, arguments[5], &run_count)) {
    return RawResult(env, -EINVAL);
  }
  remotes.runs =
      reinterpret_cast<const PacketRun*>(BytesOf(env, arguments[4], run_count * sizeof(PacketRun)));
  remotes.run_count = run_count;
  if (run_count > 0 && remotes.runs == nullptr) return RawResult(env, -EINVAL);
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
    CONSTANT(SOCK_STREAM),       CONSTANT(SOCK_DGRAM),
    CONSTANT(SOL_SOCKET),        CONSTANT(SOL_IP),
    CONSTANT(SOL_IPV6),          CONSTANT(SOL_UDP),
    CONSTANT(SO_REUSEADDR),      CONSTANT(SO_REUSEPORT),
    CONSTANT(SO_MARK),           CONSTANT(SO_BINDTODEVICE),
    CONSTANT(SO_RCVBUF),         CONSTANT(SO_RCVBUFFORCE),
    CONSTANT(SO_SNDBUF),         CONSTANT(SO_SNDBUFFORCE),
    CONSTANT(SO_DOMAIN),         CONSTANT(SO_TYPE),
    CONSTANT(SO_ERROR),          CONSTANT(SO_PROTOCOL),
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
  Export<DescriptorCall<OpenUdpSocket>>(env, exports, "openUdpSocket");
  Export<SetSocketOptionCall>(env, exports, "setSocketOption");
  Export<NumberCall<GetSocketOption>>(env, exports, "getSocketOption");
  Export<NumberCall<AddressCall<bind>>>(env, exports, "bindSocket");
  Export<NumberCall<AddressCall<connect>>>(env, exports, "connectSocket");
  Export<NumberCall<GetAddress<getsockname>>>(env, exports, "socketAddress");
  Export<NumberCall<GetAddress<getpeername>>>(env, exports, "peerAddress");
  Export<AttachUdpCall>(env, exports, "attachUdp");
  ExportRaw(env, exports, "writeDatagrams", WriteDatagramsCall);
  ExportRaw(env, exports, "sendDatagram", SendDatagramCall);
}

}  // namespace tuntap
