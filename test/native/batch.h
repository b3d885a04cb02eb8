#ifndef TUNTAP_TEST_BATCH_H_
#define TUNTAP_TEST_BATCH_H_

#include <vector>

#include "../../src-cpp/batch/appender.h"
#include "check.h"
#include "packets.h"

// A batch in memory of its own, as JavaScript makes it.
class TestBatch {
 public:
  explicit TestBatch(uint32_t capacity = 256, size_t size = 1 << 20) : memory_((size + 7) / 8) {
    auto* const header = reinterpret_cast<tuntap::BatchHeader*>(memory_.data());
    header->capacity = capacity;
    header->end = static_cast<uint32_t>(sizeof(tuntap::BatchHeader) + capacity * sizeof(tuntap::BatchEntry));
    CHECK(view_.Map(reinterpret_cast<uint8_t*>(memory_.data()), memory_.size() * 8) == 0);
  }

  const tuntap::BatchView& view() const { return view_; }
  uint32_t count() const { return static_cast<uint32_t>(view_.count()); }
  tuntap::BatchEntry& entry(size_t index) const { return view_.entries()[index]; }
  void Clear() const {
    view_.header()->count = 0;
    view_.header()->end = static_cast<uint32_t>(view_.data_area());
  }

  void Push(const Bytes& packet) const {
    tuntap::Appender out(view_, {});
    uint8_t* const to = out.Reserve(packet.size());
    CHECK(to != nullptr);
    std::copy(packet.begin(), packet.end(), to);
    out.Commit(packet.size());
    out.Finish(0);
  }

  Bytes At(size_t index) const {
    const uint8_t* data = nullptr;
    const int64_t length = view_.Packet(index, &data);
    return length <= 0 ? Bytes() : Bytes(data, data + length);
  }

 private:
  std::vector<uint64_t> memory_;
  tuntap::BatchView view_;
};

#endif  // TUNTAP_TEST_BATCH_H_
