#ifndef TUNTAP_DESCRIPTOR_H_
#define TUNTAP_DESCRIPTOR_H_

#include <napi.h>

#include <memory>

#include "linux/file_descriptor.h"
#include "port/packet_port.h"
#include "uv_readiness.h"

namespace tuntap {

// An open fd as a JavaScript object that can't leak it: close(), the garbage collector or the end of its
// environment (a worker that is terminated) closes it, whichever comes first.
//
// Once readInto() has named a batch, packets are read into it before the callback is told of kReadable: one
// call into JavaScript a batch. The callback gets -errno instead of events if that is no batch, or has no
// room; what it arms is then ignored.
//
// While the callback runs, control[kInCallback] is 1, and the events in control[kArm] are armed when it ends:
// a write to memory costs a tenth of a call of arm().
//
// What was moved is added up in counters[Counter], so that JavaScript does no work for it a batch.
//
// JavaScript: fd(), close(closed?), watch(callback, control, counters), readInto(memory, headroom, tailroom),
// arm(events), readPending(), disarm(events), setReferenced(boolean). What can fail returns -errno.
//
// Where the port has packets pending, which no event of the fd tells of, the callback is called again at once
// if it armed kReadable; arm(kReadable) from elsewhere returns 1, and the caller then calls readPending().
// The fd is not read meanwhile.
class Descriptor final : public Napi::ObjectWrap<Descriptor>, private Readiness::Listener {
 public:
  static void Register(Napi::Env env, Napi::Object exports);

  // A Descriptor that owns `fd`, or the number `fd` itself where that is -errno.
  static Napi::Value Wrap(Napi::Env env, int fd);

  // A Descriptor of a device that JavaScript was given the fd of, or -EBUSY if another Descriptor of this
  // process, in any thread, has it. The fd stays the giver's until watch() succeeds: closing leaves it as it
  // was.
  static Napi::Value Adopt(Napi::Env env, int fd);

  explicit Descriptor(const Napi::CallbackInfo& info);
  ~Descriptor() override;

  int fd() const { return fd_.get(); }
  // The fd is attached to a device of /dev/net/tun, which is reset before the last of its queues closes.
  void SetDevice();

  // What batches are read and written by; a PlainPort at first. `memory` is kept while the port is.
  void SetPort(std::unique_ptr<PacketPort> port, Napi::ObjectReference memory = {}) {
    port_ = std::move(port);
    port_memory_ = std::move(memory);
  }
  void Write(const Batch& batch, size_t start) {
    port_->Write(fd_.get(), batch, start, batch.header()->count);
    CountWritten(batch.header()->packets, batch.header()->bytes);
  }
  void WriteTo(const Batch& batch, size_t start, const Remotes& remotes) {
    port_->WriteTo(fd_.get(), batch, start, batch.header()->count, remotes);
    CountWritten(batch.header()->packets, batch.header()->bytes);
  }
  // One packet without a batch, as it is. Returns its length or -errno.
  int64_t WriteOne(const uint8_t* packet, size_t length) {
    const int64_t written = WritePacket(fd_.get(), packet, length);
    if (written >= 0) CountWritten(1, length);
    return written;
  }
  int SendTo(const uint8_t* data, size_t length, const DatagramSlot& slot) {
    const int result = port_->SendTo(fd_.get(), data, length, slot);
    if (result == 0) CountWritten(1, length);
    return result;
  }

 private:
  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Watch(const Napi::CallbackInfo& info);
  Napi::Value ReadInto(const Napi::CallbackInfo& info);
  Napi::Value ReadPending(const Napi::CallbackInfo& info);
  Napi::Value Arm(const Napi::CallbackInfo& info);
  Napi::Value Disarm(const Napi::CallbackInfo& info);
  Napi::Value SetReferenced(const Napi::CallbackInfo& info);

  void OnReady(int events) override;
  void OnTeardown() override { CloseNow(); }
  FileDescriptor TakeFd();
  void CloseNow();
  void CloseLater(Napi::Env env, Napi::Function closed);
  int TakeBatch(Batch* batch);
  int ReadBatch(void (PacketPort::*read)(int, const Batch&, Room));
  int ArmReadiness(int events);
  bool Tell(int events);
  void ReleaseAll();
  void CountRead(const Batch& batch);
  void CountWritten(size_t packets, size_t bytes) {
    if (counters_ == nullptr) return;
    counters_[kPacketsWritten] += static_cast<double>(packets);
    counters_[kBytesWritten] += static_cast<double>(bytes);
  }

  enum Control { kArm, kInCallback };
  enum Counter { kPacketsRead, kBytesRead, kPacketsWritten, kBytesWritten, kMalformed };

  FileDescriptor fd_;
  bool device_ = false;
  bool borrowed_ = false;
  std::unique_ptr<PacketPort> port_ = std::make_unique<PlainPort>();
  Napi::ObjectReference port_memory_;
  Readiness* readiness_ = nullptr;
  Napi::FunctionReference callback_;
  std::unique_ptr<Napi::AsyncContext> context_;
  Napi::ObjectReference memory_;  // of the batch that packets are read into
  Room room_{};
  Napi::ObjectReference control_array_;
  int32_t* control_ = nullptr;  // stays in place while control_array_ holds it: lib/ never detaches it
  Napi::ObjectReference counters_array_;
  double* counters_ = nullptr;  // likewise
};

}  // namespace tuntap

#endif  // TUNTAP_DESCRIPTOR_H_
