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

// An fd, or -errno.
int OpenUdpSocket(int namespace_fd, int family) {
  return SocketIn(namespace_fd, family, SOCK_DGRAM, IPPROTO_UDP);
}

int SetSocketOption(int fd, int level, int name, const void* value, size_t size) {
  return setsockopt(fd, level, name, value, static_cast<socklen_t>(size)) < 0 ? -errno : 0;
}

int SetSocketNumber(int fd, int level, int name, int value) {
  return SetSocketOption(fd, level, name, &value, sizeof(value));
}

// A name, such as SO_BINDTODEVICE's.
int SetSocketText(int fd, int level, int name, const std::string& value) {
  return SetSocketOption(fd, level, name, value.c_str(), value.size() + 1);
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

// Batches go through the socket from now on. The memory is a UdpState and a DatagramEntry for each entry of
// the batch that is read into.
Napi::Value AttachUdpCall(const Napi::CallbackInfo& info) {
  auto* const descriptor = Argument<Descriptor*>(info, 0);
  auto memory = info[2].As<Napi::ArrayBuffer>();
  if (descriptor == nullptr || memory.ByteLength() < sizeof(UdpState)) return Result(info, -EINVAL);
  auto* state = static_cast<UdpState*>(memory.Data());
  auto receiver = std::make_unique<UdpReceiver>(
      state, reinterpret_cast<DatagramEntry*>(state + 1),
      (memory.ByteLength() - sizeof(UdpState)) / sizeof(DatagramEntry), Argument<uint32_t>(info, 3));
  descriptor->channel().SetUdp(std::move(receiver),
                               std::make_unique<UdpSender>(Argument<int>(info, 1), state));
  descriptor->SetDevice();
  descriptor->KeepMemory(memory);
  return Result(info, 0);
}

// Packets that the kernel took, or -errno; the batch's header has the rest. One entry is for all of them,
// several for one each, or with runs for one run each; without entries all go to the connected peer.
int64_t WriteDatagrams(Descriptor* descriptor, const BatchView& batch, uint32_t start,
                       std::optional<Rows<DatagramEntry>> entries, std::optional<Rows<PacketRun>> runs,
                       uint32_t run_count) {
  if (start > batch.count() || (entries && entries->size == 0) || (runs ? runs->size : 0) < run_count)
    return -EINVAL;
  Remotes remotes;
  if (entries) remotes = {entries->data, entries->size};
  if (runs && run_count > 0) {
    remotes.runs = runs->data;
    remotes.run_count = run_count;
  }
  const int error = descriptor->channel().WriteTo(batch, start, remotes);
  return error < 0 ? error : int64_t{batch.header()->outcome.packets};
}

int SendDatagram(Descriptor* descriptor, Bytes datagram, std::optional<Rows<DatagramEntry>> entry) {
  if (entry && entry->size == 0) return -EINVAL;
  return descriptor->channel().SendTo(datagram.data, datagram.size, entry ? *entry->data : DatagramEntry{});
}

struct Constant {
  const char* name;
  int value;
};

// SOL_SOCKET's differ between architectures (asm/socket.h).
#define CONSTANT(name) \
  { #name, name }
constexpr Constant kConstants[] = {
    // clang-format off
    CONSTANT(SOCK_STREAM), CONSTANT(SOCK_DGRAM),
    CONSTANT(SOL_SOCKET), CONSTANT(SOL_IP), CONSTANT(SOL_IPV6), CONSTANT(SOL_UDP),
    CONSTANT(SO_REUSEADDR), CONSTANT(SO_REUSEPORT), CONSTANT(SO_MARK), CONSTANT(SO_BINDTODEVICE),
    CONSTANT(SO_RCVBUF), CONSTANT(SO_RCVBUFFORCE), CONSTANT(SO_SNDBUF), CONSTANT(SO_SNDBUFFORCE),
    CONSTANT(SO_DOMAIN), CONSTANT(SO_TYPE), CONSTANT(SO_ERROR), CONSTANT(SO_PROTOCOL), CONSTANT(SO_RXQ_OVFL),
    CONSTANT(IP_TOS), CONSTANT(IP_RECVTOS), CONSTANT(IP_PKTINFO), CONSTANT(IP_RECVERR), CONSTANT(IP_MTU),
    CONSTANT(IP_MTU_DISCOVER), CONSTANT(IP_PMTUDISC_DONT), CONSTANT(IP_PMTUDISC_DO), CONSTANT(IP_PMTUDISC_PROBE),
    CONSTANT(IPV6_V6ONLY), CONSTANT(IPV6_TCLASS), CONSTANT(IPV6_RECVTCLASS), CONSTANT(IPV6_RECVPKTINFO),
    CONSTANT(IPV6_RECVERR), CONSTANT(IPV6_MTU), CONSTANT(IPV6_MTU_DISCOVER),
    CONSTANT(UDP_SEGMENT), CONSTANT(UDP_GRO),
    // clang-format on
};
#undef CONSTANT

}  // namespace

void RegisterUdpCalls(Napi::Env env, Napi::Object exports) {
  Napi::Object constants = Napi::Object::New(env);
  for (const Constant& constant : kConstants) constants.Set(constant.name, constant.value);
  exports.Set("socketConstants", constants);
  Export<DescriptorCall<OpenUdpSocket>>(env, exports, "openUdpSocket");
  Export<Call<SetSocketNumber>>(env, exports, "setSocketNumber");
  Export<Call<SetSocketText>>(env, exports, "setSocketText");
  Export<Call<GetSocketOption>>(env, exports, "getSocketOption");
  Export<Call<AddressCall<bind>>>(env, exports, "bindSocket");
  Export<Call<AddressCall<connect>>>(env, exports, "connectSocket");
  Export<Call<GetAddress<getsockname>>>(env, exports, "socketAddress");
  Export<Call<GetAddress<getpeername>>>(env, exports, "peerAddress");
  Export<AttachUdpCall>(env, exports, "attachUdp");
  Export<Call<WriteDatagrams>>(env, exports, "writeDatagrams");
  Export<Call<SendDatagram>>(env, exports, "sendDatagram");
}

}  // namespace tuntap
