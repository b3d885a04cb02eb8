#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "arguments.h"
#include "async_call.h"
#include "descriptor.h"
#include "linux/namespace.h"
#include "linux/netlink_socket.h"

// What JavaScript calls for namespaces and netlink. A namespace argument is an nsfs fd, or -1 for the
// namespace that the process is in. Functions that return a promise work on libuv's pool.

namespace tuntap {
namespace {

bool IsNetworkNamespace(int fd) { return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET; }

// A promise of what `convert` makes of the result of `execute`.
template <typename Execute, typename Convert>
Napi::Value Later(const Napi::CallbackInfo& info, Execute execute, Convert convert) {
  return {info.Env(), AsyncCall<decltype(execute())>::Start(info.Env(), execute, convert)};
}

// A promise of a Descriptor of what `open` returns, or of -errno, which the FileDescriptor may hold.
template <typename Open>
Napi::Value OpenLater(const Napi::CallbackInfo& info, Open open) {
  return Later(
      info, [open] { return FileDescriptor(open()); },
      [](napi_env env, FileDescriptor& opened) -> napi_value {
        return Descriptor::Wrap(env, opened.Release());
      });
}

// openSocket(namespace, family, type): a Descriptor of a socket that does not block, or -errno; a promise of
// it once the process has needed a child, which JavaScript does not wait for.
Napi::Value OpenSocketCall(const Napi::CallbackInfo& info) {
  const int given = Argument<int>(info, 0);
  const int family = Argument<int>(info, 1);
  const int type = Argument<int>(info, 2) | SOCK_NONBLOCK;
  if (given < 0 || !SendsChildren()) return Descriptor::Wrap(info.Env(), SocketIn(given, family, type, 0));
  auto space = std::make_shared<FileDescriptor>(DuplicateFd(given));
  if (!space->valid()) return Result(info, -EBADF);
  return OpenLater(info, [space, family, type] { return SocketIn(space->get(), family, type, 0); });
}

int CloseFd(int fd) { return close(fd) < 0 ? -errno : 0; }

// newNetworkNamespace(rootless): a promise of a Descriptor or of -errno.
Napi::Value NewNetworkNamespaceCall(const Napi::CallbackInfo& info) {
  return OpenLater(info, [rootless = Argument<bool>(info, 0)] { return NewNetworkNamespace(rootless); });
}

// An fd, or -errno.
int OpenNetlinkRoute(int namespace_fd, Rows<uint32_t> groups, int receive_buffer) {
  FileDescriptor socket(SocketIn(namespace_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  if (!socket.valid()) return socket.get();
  ConfigureNetlink(socket.get());
  const int result =
      JoinNetlinkGroups(socket.get(), {groups.data, groups.data + groups.size}, receive_buffer);
  return result < 0 ? result : socket.Release();
}

int SendBytes(int fd, Bytes bytes) { return SendNetlink(fd, bytes.data, bytes.size); }

struct Answer {
  int error = 0;
  Datagrams datagrams;
};

// An array of Buffers, or -errno.
napi_value ConvertAnswer(napi_env env, Answer& answer) {
  if (answer.error < 0) return RawResult(env, answer.error);
  const Datagrams& datagrams = answer.datagrams;
  napi_value array = nullptr;
  if (napi_create_array_with_length(env, datagrams.ends.size(), &array) != napi_ok) return nullptr;
  size_t start = 0;
  uint32_t index = 0;
  for (const size_t end : datagrams.ends) {
    napi_value buffer = nullptr;
    void* copied = nullptr;
    if (napi_create_buffer_copy(env, end - start, datagrams.bytes.data() + start, &copied, &buffer) !=
            napi_ok ||
        napi_set_element(env, array, index++, buffer) != napi_ok) {
      return nullptr;
    }
    start = end;
  }
  return array;
}

// receiveNetlink(fd, timeoutMs): Buffers or -errno.
Napi::Value ReceiveNetlinkCall(const Napi::CallbackInfo& info) {
  Answer answer;
  answer.error = ReceiveNetlink(Argument<int>(info, 0), Argument<int>(info, 1), &answer.datagrams);
  return {info.Env(), ConvertAnswer(info.Env(), answer)};
}

// exchangeNetlink(fd, bytes, timeoutMs): sends `bytes`, unless they are empty, and receives; a promise of
// Buffers or -errno.
Napi::Value ExchangeNetlinkCall(const Napi::CallbackInfo& info) {
  auto socket = std::make_shared<FileDescriptor>(DuplicateFd(Argument<int>(info, 0)));
  if (!socket->valid()) return Result(info, -EBADF);
  const auto given = Argument<Bytes>(info, 1);
  const int timeout_ms = Argument<int>(info, 2);
  std::vector<uint8_t> bytes(given.data, given.data + given.size);
  const auto exchange = [socket, timeout_ms, bytes = std::move(bytes)] {
    Answer answer;
    if (!bytes.empty()) answer.error = SendNetlink(socket->get(), bytes.data(), bytes.size());
    if (answer.error == 0) answer.error = ReceiveNetlink(socket->get(), timeout_ms, &answer.datagrams);
    return answer;
  };
  return Later(info, exchange, ConvertAnswer);
}

// unbindNamespace(path): a promise of 0 or -errno; the kernel waits for all processors first.
Napi::Value UnbindNamespaceCall(const Napi::CallbackInfo& info) {
  const auto unbind = [path = Argument<std::string>(info, 0)] { return UnbindNamespace(path); };
  return Later(info, unbind, RawResult<int>);
}

}  // namespace

void RegisterNetworkCalls(Napi::Env env, Napi::Object exports) {
  Export<DescriptorCall<OpenIn>>(env, exports, "openIn");
  Export<DescriptorCall<OpenSysfsIn>>(env, exports, "openSysfsIn");
  Export<DescriptorCall<OpenCharacterDevice>>(env, exports, "openCharacterDevice");
  Export<Call<IsNetworkNamespace>>(env, exports, "isNetworkNamespace");
  Export<Call<IsRootless>>(env, exports, "isRootless");
  Export<OpenSocketCall>(env, exports, "openSocket");
  Export<Call<DuplicateFd>>(env, exports, "duplicate");
  Export<Call<CloseFd>>(env, exports, "closeFd");
  Export<NewNetworkNamespaceCall>(env, exports, "newNetworkNamespace");
  Export<DescriptorCall<OpenNetlinkRoute>>(env, exports, "openNetlinkRoute");
  Export<Call<SendBytes>>(env, exports, "sendNetlink");
  Export<ReceiveNetlinkCall>(env, exports, "receiveNetlink");
  Export<ExchangeNetlinkCall>(env, exports, "exchangeNetlink");
  Export<Call<ShareMounts>>(env, exports, "shareMounts");
  Export<Call<BindNamespace>>(env, exports, "bindNamespace");
  Export<UnbindNamespaceCall>(env, exports, "unbindNamespace");
}

}  // namespace tuntap
