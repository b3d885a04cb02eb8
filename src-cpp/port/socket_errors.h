#pragma once

#include "batch/layout.h"

namespace tuntap {

// The errors that came for datagrams sent earlier, which JavaScript reads from the UdpState.
class SocketErrors {
 public:
  explicit SocketErrors(UdpState* state) : state_(state) {}

  // Takes what is in the error queue, so that it no longer fails calls or polls. Returns whether there was an
  // error that a call may have failed for.
  bool Drain(int fd);

  // Returns whether `error`, which a call failed with, may have come for a datagram sent earlier, and records
  // what the kernel tells of it.
  bool TakeEarlier(int fd, int error);

 private:
  void RecordAlone(int error);  // of which nothing more is known
  void Record(const SocketErrorRecord& record);

  UdpState* const state_;
};

// Tells the errors of calls that send from those that ICMP messages brought for datagrams sent earlier: each
// of these fails one call, which sends nothing.
class EarlierErrors {
 public:
  explicit EarlierErrors(SocketErrors* errors) : errors_(errors) {}

  // Whether the call that ended with `error`, or 0, has to be made again. If it fails with the same error
  // once more, the error is its own, which `own` says from the start.
  [[nodiscard]] bool TryAgain(int error, bool own);

  // Records what the calls found out; to be called after the last one.
  void Report(int fd);

 private:
  SocketErrors* const errors_;
  int suspect_ = 0;
  int earlier_ = 0;
  bool report_ = false;
};

}  // namespace tuntap
