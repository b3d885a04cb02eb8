#include <cerrno>
#include <vector>

#include "arguments.h"
#include "tunnel/sealing_pool.h"

// What JavaScript calls to let threads seal and send batches.

namespace tuntap {
namespace {

// A pool, and the memory of its batches. Its threads end before that memory, or the environment, does.
class PoolHandle {
 public:
  PoolHandle(Napi::Env env, std::unique_ptr<SealingPool> pool, const Napi::Array& memories)
      : env_(env), pool_(std::move(pool)) {
    for (uint32_t i = 0; i < memories.Length(); i++) {
      memories_.push_back(Napi::Persistent(memories.Get(i).As<Napi::Object>()));
    }
    napi_add_env_cleanup_hook(env_, OnTeardown, this);
  }
  ~PoolHandle() {
    if (pool_ != nullptr) Stop();
  }

  SealingPool* pool() { return pool_.get(); }
  // Maps the batch that the next Send() hands over. Returns 0 or -errno.
  [[nodiscard]] int TakeNext(BatchView* batch) {
    return pool_ == nullptr ? -EBADF : Take(env_, memories_[pool_->WaitForPlace()].Value(), batch);
  }

  void Stop() {
    napi_remove_env_cleanup_hook(env_, OnTeardown, this);
    pool_.reset();
    memories_.clear();
  }

 private:
  static void OnTeardown(void* self) { static_cast<PoolHandle*>(self)->pool_.reset(); }

  const napi_env env_;
  std::vector<Napi::ObjectReference> memories_;
  std::unique_ptr<SealingPool> pool_;
};

// newSealingPool(threads, few, memories): an External or -errno. The memories are PacketBatches'.
Napi::Value NewSealingPoolCall(const Napi::CallbackInfo& info) {
  const auto memories = info[2].As<Napi::Array>();
  std::unique_ptr<SealingPool> pool;
  const int error =
      SealingPool::Create(Argument<size_t>(info, 0), Argument<size_t>(info, 1), memories.Length(), &pool);
  if (error < 0) return Result(info, error);
  return Own(info.Env(), std::make_unique<PoolHandle>(info.Env(), std::move(pool), memories));
}

// Its threads end.
int StopSealingPool(PoolHandle* handle) {
  if (handle->pool() != nullptr) handle->Stop();
  return 0;
}

// 0 or -errno. An fd of -1: none.
int UseSealingSocket(PoolHandle* handle, int fd, int family, bool gso) {
  if (handle->pool() == nullptr) return -EBADF;
  std::unique_ptr<SealedSocket> socket;
  if (fd >= 0) {
    FileDescriptor second(DuplicateFd(fd));
    if (!second.valid()) return second.Release();
    socket = std::make_unique<SealedSocket>(std::move(second), family, gso);
  }
  handle->pool()->UseSocket(std::move(socket));
  return 0;
}

// The place of the batch that is the caller's now, or -errno.
int64_t WaitForSealing(PoolHandle* handle) {
  return handle->pool() == nullptr ? -EBADF : static_cast<int64_t>(handle->pool()->Begin());
}

bool IsSealingIdle(PoolHandle* handle) { return handle->pool() == nullptr || handle->pool()->Idle(); }

// How many bytes the packets will have, or -errno.
int64_t SealLater(PoolHandle* handle, AeadHandle* aead, uint32_t start, uint32_t end, Bytes header,
                  uint64_t counter, uint32_t multiple, uint32_t limit) {
  if (*aead == nullptr) return -EBADF;
  BatchView batch;
  const int error = handle->TakeNext(&batch);
  if (error < 0) return error;
  const size_t header_length = (*aead)->layout().header_length;
  if (header.size < header_length || start > end || end > batch.count() ||
      (*aead)->contexts() <= handle->pool()->threads()) {
    return -EINVAL;
  }
  const Padding padding{multiple, limit};
  size_t bytes = 0;
  for (uint32_t i = start; i < end; i++) {
    const uint32_t length = batch.entries()[i].length;
    if (length != kDropped) bytes += header_length + length + padding.After(length) + Aead::kTagSize;
  }
  handle->pool()->Seal({*aead, {header.data, header.data + header_length}, start, end, counter, padding});
  return static_cast<int64_t>(bytes);
}

// 0 or -errno. One entry a run.
int SendLater(PoolHandle* handle, Rows<PacketRun> runs, uint32_t count, Rows<DatagramEntry> entries) {
  BatchView batch;
  const int error = handle->TakeNext(&batch);
  if (error < 0) return error;
  if (runs.size < count || entries.size < count) return -EINVAL;
  handle->pool()->Send(batch, runs.data, count, entries.data);
  return 0;
}

}  // namespace

void RegisterSealingCalls(Napi::Env env, Napi::Object exports) {
  Export<NewSealingPoolCall>(env, exports, "newSealingPool");
  Export<Call<StopSealingPool>>(env, exports, "stopSealingPool");
  Export<Call<UseSealingSocket>>(env, exports, "useSealingSocket");
  Export<Call<WaitForSealing>>(env, exports, "waitForSealing");
  Export<Call<IsSealingIdle>>(env, exports, "isSealingIdle");
  Export<Call<SealLater>>(env, exports, "sealLater");
  Export<Call<SendLater>>(env, exports, "sendLater");
}

}  // namespace tuntap
