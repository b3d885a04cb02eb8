#include "intercept/dialer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "linux/uninterrupted.h"

namespace tuntap {
namespace {

constexpr int kWaits = 1;

constexpr uint8_t kVersion = 5;      // of SOCKS, RFC 1928
constexpr uint8_t kUserVersion = 1;  // of its password authentication, RFC 1929
constexpr uint8_t kNoAuthentication = 0;
constexpr uint8_t kPassword = 2;
constexpr uint8_t kIpv4 = 1;
constexpr uint8_t kName = 3;
constexpr uint8_t kIpv6 = 4;

// A longer header of a proxy's reply is refused.
constexpr size_t kMaxReply = 16384;

}  // namespace

int Dialer::Continue(int socket, bool* readable, bool* writable) {
  if (step_ == Step::kConnect) {
    if (!*writable) return kWaits;
    if (const int error = Connected(socket); error < 0) return error;
  }
  while (step_ != Step::kDone) {
    if (!to_send_.empty()) {
      if (!*writable) return kWaits;
      if (const int error = Send(socket, writable); error < 0) return error;
      continue;
    }
    const int parsed = Parse();
    if (parsed < 0) return parsed;
    if (parsed != kWaits) continue;
    if (!*readable) return kWaits;
    if (const int error = Receive(socket, readable); error < 0) return error;
  }
  return 0;
}

int PendingError(int socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

int Dialer::Connected(int socket) {
  if (const int error = PendingError(socket); error < 0) return error;
  switch (protocol_) {
    case Protocol::kDirect:
      step_ = Step::kDone;
      break;
    case Protocol::kSocks5:
      Say(std::move(messages_.greeting), Step::kMethodReply);
      break;
    case Protocol::kHttp:
      Say(std::move(messages_.request), Step::kHttpReply);
      break;
  }
  return 0;
}

int Dialer::Send(int socket, bool* writable) {
  const ssize_t count =
      Uninterrupted([&] { return send(socket, to_send_.data(), to_send_.size(), MSG_NOSIGNAL); });
  if (count == -EAGAIN) {
    *writable = false;
    return 0;
  }
  if (count < 0) return static_cast<int>(count);
  to_send_.erase(to_send_.begin(), to_send_.begin() + count);
  return 0;
}

int Dialer::Receive(int socket, bool* readable) {
  if (received_.size() >= kMaxReply) return -EPROTO;
  uint8_t bytes[4096];
  const ssize_t count = Uninterrupted([&] { return recv(socket, bytes, sizeof(bytes), 0); });
  if (count == -EAGAIN) {
    *readable = false;
    return 0;
  }
  if (count == 0) return -ECONNRESET;  // the proxy has ended the connection
  if (count < 0) return static_cast<int>(count);
  received_.insert(received_.end(), bytes, bytes + count);
  return 0;
}

// Each returns kWaits if more bytes are needed, 0 after a step, or -errno.
int Dialer::Parse() {
  switch (step_) {
    case Step::kMethodReply:
      return ParseMethod();
    case Step::kUserReply:
      return ParseUser();
    case Step::kRequestReply:
      return ParseRequest();
    case Step::kHttpReply:
      return ParseHttp();
    default:
      return -EPROTO;
  }
}

int Dialer::ParseMethod() {
  if (received_.size() < 2) return kWaits;
  if (received_[0] != kVersion) return -EPROTO;
  const uint8_t method = received_[1];
  received_.erase(received_.begin(), received_.begin() + 2);
  if (method == kNoAuthentication) {
    Say(std::move(messages_.request), Step::kRequestReply);
  } else if (method == kPassword && !messages_.password.empty()) {
    Say(std::move(messages_.password), Step::kUserReply);
  } else {
    return Refused(kMethod);
  }
  return 0;
}

int Dialer::ParseUser() {
  if (received_.size() < 2) return kWaits;
  if (received_[0] != kUserVersion) return -EPROTO;
  if (received_[1] != 0) return Refused(kUser);
  received_.erase(received_.begin(), received_.begin() + 2);
  Say(std::move(messages_.request), Step::kRequestReply);
  return 0;
}

int Dialer::ParseRequest() {
  if (received_.size() < 2) return kWaits;
  if (received_[0] != kVersion) return -EPROTO;
  if (received_[1] != 0) return Refused(kRequest + received_[1]);
  if (received_.size() < 5) return kWaits;
  size_t address = 0;
  if (received_[3] == kIpv4) {
    address = 4;
  } else if (received_[3] == kIpv6) {
    address = 16;
  } else if (received_[3] == kName) {
    address = size_t{1} + received_[4];
  } else {
    return -EPROTO;
  }
  const size_t length = 4 + address + 2;
  return received_.size() < length ? kWaits : Done(length);
}

int Dialer::ParseHttp() {
  const std::string_view text(reinterpret_cast<const char*>(received_.data()), received_.size());
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return kWaits;
  const auto is_digit = [](char digit) { return digit >= '0' && digit <= '9'; };
  // "HTTP/1.1 200", RFC 9112 section 4.
  if (end < 12 || text.substr(0, 7) != "HTTP/1." || text[8] != ' ' ||
      !std::all_of(text.begin() + 9, text.begin() + 12, is_digit)) {
    return -EPROTO;
  }
  const int status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
  // 1xx are messages before the reply.
  if (status < 200) {
    received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(end + 4));
    return 0;
  }
  return status < 300 ? Done(end + 4) : Refused(kRequest + status);
}

void Dialer::Say(Message message, Step next) {
  to_send_ = std::move(message);
  step_ = next;
}

int Dialer::Refused(int reply) {
  reply_ = reply;
  return -ECONNREFUSED;
}

int Dialer::Done(size_t parsed) {
  received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(parsed));
  step_ = Step::kDone;
  return 0;
}

}  // namespace tuntap
