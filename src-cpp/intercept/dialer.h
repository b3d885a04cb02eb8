#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tuntap {

// Waits until connect(2) has ended, and then has the proxy at the other end connect on: by SOCKS5 (RFC 1928,
// RFC 1929) or by HTTP's CONNECT (RFC 9110, 9.3.6). The messages to the proxy were made before.
class Dialer {
 public:
  using Message = std::vector<uint8_t>;
  enum class Protocol { kDirect, kSocks5, kHttp };

  // Who refused the connection, in the thousands of reply().
  static constexpr int kMethod = 1000;   // no way to authenticate that the proxy takes
  static constexpr int kUser = 2000;     // the user or password
  static constexpr int kRequest = 3000;  // the connection itself: plus a reply of SOCKS5, or a status of HTTP

  // What the proxy is told. HTTP has a request only; the password of SOCKS5 may be empty.
  struct Messages {
    Message greeting;
    Message password;
    Message request;
  };

  Dialer(Protocol protocol, Messages messages) : protocol_(protocol), messages_(std::move(messages)) {}

  // Goes on as far as the socket does not block; `*readable` and `*writable` are cleared where it does.
  // Returns 1 as long as it waits, 0 once connected, or -errno.
  [[nodiscard]] int Continue(int socket, bool* readable, bool* writable);

  // Why the proxy refused, beside -ECONNREFUSED; or 0.
  int reply() const { return reply_; }
  // What followed the proxy's last message.
  Message TakeRest() { return std::move(received_); }

 private:
  enum class Step { kConnect, kMethodReply, kUserReply, kRequestReply, kHttpReply, kDone };

  int Connected(int socket);
  int Send(int socket, bool* writable);
  int Receive(int socket, bool* readable);
  int Parse();
  int ParseMethod();
  int ParseUser();
  int ParseRequest();
  int ParseHttp();
  void Say(Message message, Step next);
  int Refused(int reply);
  int Done(size_t parsed);

  const Protocol protocol_;
  Messages messages_;
  Step step_ = Step::kConnect;
  Message to_send_;
  Message received_;
  int reply_ = 0;
};

// Takes the error that a socket keeps: -errno, or 0.
[[nodiscard]] int PendingError(int socket);

}  // namespace tuntap
