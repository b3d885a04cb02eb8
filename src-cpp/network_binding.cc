#include <sys/socket.h>

#include "bindings.h"
#include "namespace_mount.h"
#include "namespace_scope.h"
#include "netlink_socket.h"

// What JavaScript calls for namespaces and netlink. A namespace argument is an nsfs fd, or -1 for the
// namespace that the process is in.

namespace tuntap {
namespace {

int32_t IntArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

std::string TextArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::String>().Utf8Value();
}

// openIn(namespace, path, flags): a Descriptor or -errno, as all of these.
Napi::Value OpenInCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(),
                          OpenIn(IntArgument(info, 0), TextArgument(info, 1), IntArgument(info, 2)));
}

Napi::Value OpenSysfsInCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), OpenSysfsIn(IntArgument(info, 0)));
}

Napi::Value NewNetworkNamespaceCall(const Napi::CallbackInfo& info) {
  return Descriptor::Wrap(info.Env(), NewNetworkNamespace());
}

// openNetlink(namespace, protocol)
Napi::Value OpenNetlinkCall(const Napi::CallbackInfo& info) {
  const int fd = SocketIn(IntArgument(info, 0), AF_NETLINK, SOCK_RAW, IntArgument(info, 1));
  if (fd >= 0) ConfigureNetlink(fd);
  return Descriptor::Wrap(info.Env(), fd);
}

// sendNetlink(fd, bytes): 0 or -errno.
Napi::Value SendNetlinkCall(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(), SendNetlink(IntArgument(info, 0), bytes.Data(), bytes.ByteLength()));
}

// receiveNetlink(fd, timeoutMs): a Buffer or -errno.
Napi::Value ReceiveNetlinkCall(const Napi::CallbackInfo& info) {
  std::vector<uint8_t> datagram;
  const int result = ReceiveNetlink(IntArgument(info, 0), IntArgument(info, 1), &datagram);
  if (result < 0) return Napi::Number::New(info.Env(), result);
  return Napi::Buffer<uint8_t>::Copy(info.Env(), datagram.data(), datagram.size());
}

Napi::Value ShareMountsCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ShareMounts(TextArgument(info, 0)));
}

Napi::Value BindNamespaceCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), BindNamespace(IntArgument(info, 0), TextArgument(info, 1)));
}

Napi::Value UnbindNamespaceCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), UnbindNamespace(TextArgument(info, 0)));
}

}  // namespace

void RegisterNetworkBinding(Napi::Env env, Napi::Object exports) {
  Export<OpenInCall>(env, exports, "openIn");
  Export<OpenSysfsInCall>(env, exports, "openSysfsIn");
  Export<NewNetworkNamespaceCall>(env, exports, "newNetworkNamespace");
  Export<OpenNetlinkCall>(env, exports, "openNetlink");
  Export<SendNetlinkCall>(env, exports, "sendNetlink");
  Export<ReceiveNetlinkCall>(env, exports, "receiveNetlink");
  Export<ShareMountsCall>(env, exports, "shareMounts");
  Export<BindNamespaceCall>(env, exports, "bindNamespace");
  Export<UnbindNamespaceCall>(env, exports, "unbindNamespace");
}

}  // namespace tuntap
