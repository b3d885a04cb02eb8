#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "arguments.h"
#include "async_call.h"
#include "descriptor.h"
#include "linux/namespace.h"
#include "linux/netlink_socket.h"

// What JavaScript calls for namespaces and netlink. A namespace argument is an nsfs fd, or -1 for the
// namespace that the process is in. Functions that return a promise work on libuv's pool; the fds given to
// them are duplicated first, so that closing one meanwhile can't make them touch another.

namespace tuntap {
namespace {

std::shared_ptr<FileDescriptor> Duplicate(int fd) {
  return std::make_shared<FileDescriptor>(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

// openIn(namespace, path, flags): a Descriptor or -errno, as all of these.
Napi::Value OpenInCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(),
                          OpenIn(IntArgument(info, 0), TextArgument(info, 1), IntArgument(info, 2)));
}

// isNetworkNamespace(fd): whether it is an nsfs fd of one.
Napi::Value IsNetworkNamespaceCall(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), ioctl(IntArgument(info, 0), NS_GET_NSTYPE) == CLONE_NEWNET);
}

Napi::Value OpenSysfsInCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), OpenSysfsIn(IntArgument(info, 0)));
}

Napi::Value OpenCharacterDeviceCall(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t index) { return info[index].As<Napi::Number>().Uint32Value(); };
  return Descriptor::Wrap(info.Env(), OpenCharacterDevice(number(0), number(1)));
}

// newNetworkNamespace(): a promise of an fd that is the caller's, or of -errno.
struct OpenResult {
  FileDescriptor fd;
  int error = 0;
};

napi_value ConvertOpened(napi_env env, OpenResult& opened) {
  return Descriptor::Wrap(env, opened.fd.valid() ? opened.fd.Release() : opened.error);
}

Napi::Value NewNetworkNamespaceCall(const Napi::CallbackInfo& info) {
  return {info.Env(), AsyncCall<OpenResult>::Start(
                          info.Env(),
                          [] {
                            const int fd = NewNetworkNamespace();
                            return fd < 0 ? OpenResult{FileDescriptor(), fd} : OpenResult{FileDescriptor(fd)};
                          },
                          ConvertOpened)};
}

// openNetlink(namespace, protocol, groups, receiveBuffer)
Napi::Value OpenNetlinkCall(const Napi::CallbackInfo& info) {
  FileDescriptor socket(SocketIn(IntArgument(info, 0), AF_NETLINK, SOCK_RAW, IntArgument(info, 1)));
  // SocketIn's -errno is no valid fd, and Wrap passes it on.
  if (!socket.valid()) return Descriptor::Wrap(info.Env(), socket.Release());
  ConfigureNetlink(socket.get());
  std::vector<uint32_t> groups;
  const auto list = info[2].As<Napi::Uint32Array>();
  groups.assign(list.Data(), list.Data() + list.ElementLength());
  const int result = JoinNetlinkGroups(socket.get(), groups, IntArgument(info, 3));
  return Descriptor::Wrap(info.Env(), result < 0 ? result : socket.Release());
}

// sendNetlink(fd, bytes): 0 or -errno.
Napi::Value SendNetlinkCall(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  return Result(info, SendNetlink(IntArgument(info, 0), bytes.Data(), bytes.ByteLength()));
}

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
    if (napi_create_buffer_copy(env, end - start, datagrams.bytes.data() + start, nullptr, &buffer) !=
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
  answer.error = ReceiveNetlink(IntArgument(info, 0), IntArgument(info, 1), &answer.datagrams);
  return {info.Env(), ConvertAnswer(info.Env(), answer)};
}

// exchangeNetlink(fd, bytes, timeoutMs): sends `bytes`, unless they are empty, and receives; a promise of
// Buffers or -errno.
Napi::Value ExchangeNetlinkCall(const Napi::CallbackInfo& info) {
  const auto socket = Duplicate(IntArgument(info, 0));
  if (!socket->valid()) return Result(info, -EBADF);
  const auto view = info[1].As<Napi::Uint8Array>();
  const int timeout_ms = IntArgument(info, 2);
  std::vector<uint8_t> bytes(view.Data(), view.Data() + view.ByteLength());
  return {info.Env(), AsyncCall<Answer>::Start(
                          info.Env(),
                          [socket, timeout_ms, bytes = std::move(bytes)] {
                            Answer answer;
                            if (!bytes.empty())
                              answer.error = SendNetlink(socket->get(), bytes.data(), bytes.size());
                            if (answer.error == 0)
                              answer.error = ReceiveNetlink(socket->get(), timeout_ms, &answer.datagrams);
                            return answer;
                          },
                          ConvertAnswer)};
}

Napi::Value ShareMountsCall(const Napi::CallbackInfo& info) {
  return Result(info, ShareMounts(TextArgument(info, 0)));
}

Napi::Value BindNamespaceCall(const Napi::CallbackInfo& info) {
  return Result(info, BindNamespace(IntArgument(info, 0), TextArgument(info, 1)));
}

// unbindNamespace(path): a promise of 0 or -errno; the kernel waits for all processors first.
Napi::Value UnbindNamespaceCall(const Napi::CallbackInfo& info) {
  return {info.Env(), AsyncCall<int>::Start(
                          info.Env(), [path = TextArgument(info, 0)] { return UnbindNamespace(path); },
                          [](napi_env env, int& result) { return RawResult(env, result); })};
}

}  // namespace

void RegisterNetworkCalls(Napi::Env env, Napi::Object exports) {
  Export<OpenInCall>(env, exports, "openIn");
  Export<IsNetworkNamespaceCall>(env, exports, "isNetworkNamespace");
  Export<OpenSysfsInCall>(env, exports, "openSysfsIn");
  Export<OpenCharacterDeviceCall>(env, exports, "openCharacterDevice");
  Export<NewNetworkNamespaceCall>(env, exports, "newNetworkNamespace");
  Export<OpenNetlinkCall>(env, exports, "openNetlink");
  Export<SendNetlinkCall>(env, exports, "sendNetlink");
  Export<ReceiveNetlinkCall>(env, exports, "receiveNetlink");
  Export<ExchangeNetlinkCall>(env, exports, "exchangeNetlink");
  Export<ShareMountsCall>(env, exports, "shareMounts");
  Export<BindNamespaceCall>(env, exports, "bindNamespace");
  Export<UnbindNamespaceCall>(env, exports, "unbindNamespace");
}

}  // namespace tuntap
