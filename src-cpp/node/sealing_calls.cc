#include <cerrno>
#include <vector>

#include "aead_handle.h"
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
  napi_value memory(size_t place) { return memories_[place].Value(); }

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

// The pool of argument `value`, or nullptr once it was stopped.
SealingPool* PoolOf(napi_env env, napi_value value) {
  auto* const handle = ExternalOf<PoolHandle>(env, value);
  return handle == nullptr ? nullptr : handle->pool();
}

// newSealingPool(threads, memories): an External or -errno. The memories are PacketBatches'.
Napi::Value NewSealingPoolCall(const Napi::CallbackInfo& info) {
  const auto memories = info[1].As<Napi::Array>();
  std::unique_ptr<SealingPool> pool;
  const int error = SealingPool::Create(Argument<size_t>(info, 0), memories.Length(), &pool);
  if (error < 0) return Result(info, error);
  auto* handle = new PoolHandle(info.Env(), std::move(pool), memories);
  return Napi::External<PoolHandle>::New(info.Env(), handle,
                                         [](Napi::Env, PoolHandle* unused) { delete unused; });
}

// stopSealingPool(pool): its threads end.
Napi::Value StopSealingPoolCall(const Napi::CallbackInfo& info) {
  auto* const handle = info[0].As<Napi::External<PoolHandle>>().Data();
  if (handle->pool() != nullptr) handle->Stop();
  return info.Env().Undefined();
}

// useSealingSocket(pool, fd, family, gso): 0 or -errno. An fd of -1: none.
Napi::Value UseSealingSocketCall(const Napi::CallbackInfo& info) {
  SealingPool* const pool = PoolOf(info.Env(), info[0]);
  if (pool == nullptr) return Result(info, -EBADF);
  const int fd = Argument<int>(info, 1);
  std::unique_ptr<SealedSocket> socket;
  if (fd >= 0) {
    FileDescriptor second(DuplicateFd(fd));
    if (!second.valid()) return Result(info, second.Release());
    socket =
        std::make_unique<SealedSocket>(std::move(second), Argument<int>(info, 2), Argument<bool>(info, 3));
  }
  pool->UseSocket(std::move(socket));
  return Result(info, 0);
}

// waitForSealing(pool): the place of the batch that is the caller's now, or -errno.
napi_value WaitForSealingCall(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  SealingPool* const pool = TakeArguments(env, info, arguments) ? PoolOf(env, arguments[0]) : nullptr;
  return RawResult(env, pool == nullptr ? int64_t{-EBADF} : static_cast<int64_t>(pool->Begin()));
}

// isSealingIdle(pool): 1 or 0.
napi_value IsSealingIdleCall(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  SealingPool* const pool = TakeArguments(env, info, arguments) ? PoolOf(env, arguments[0]) : nullptr;
  return RawResult(env, pool == nullptr || pool->Idle() ? 1 : 0);
}

// sealLater(pool, aead, start, end, header, counter, multiple, limit): how many bytes the packets will have,
// or -errno.
napi_value SealLaterCall(napi_env env, napi_callback_info info) {
  napi_value arguments[8];
  SealingPool::Run run;
  int64_t counter = 0;
  if (!TakeArguments(env, info, arguments) || !TakeUint(env, arguments[2], &run.start) ||
      !TakeUint(env, arguments[3], &run.end) ||
      napi_get_value_int64(env, arguments[5], &counter) != napi_ok ||
      !TakeUint(env, arguments[6], &run.padding.multiple) ||
      !TakeUint(env, arguments[7], &run.padding.limit)) {
    return RawResult(env, -EINVAL);
  }
  auto* const handle = ExternalOf<PoolHandle>(env, arguments[0]);
  const auto* const aead = ExternalOf<AeadHandle>(env, arguments[1]);
  if (handle == nullptr || handle->pool() == nullptr || aead == nullptr || aead->aead == nullptr) {
    return RawResult(env, -EBADF);
  }
  const size_t header_length = aead->aead->layout().header_length;
  const uint8_t* const header = BytesOf(env, arguments[4], header_length);
  BatchView batch;
  const int error = TakeBatch(env, handle->memory(handle->pool()->WaitForPlace()), &batch);
  if (error < 0) return RawResult(env, error);
  if (header == nullptr || run.start > run.end || run.end > batch.count() ||
      aead->aead->contexts() <= handle->pool()->threads()) {
    return RawResult(env, -EINVAL);
  }
  int64_t bytes = 0;
  for (uint32_t i = run.start; i < run.end; i++) {
    const uint32_t length = batch.entries()[i].length;
    if (length == kDropped) continue;
    bytes += static_cast<int64_t>(header_length + length + run.padding.After(length) + Aead::kTagSize);
  }
  run.aead = aead->aead;
  run.header.assign(header, header + header_length);
  run.counter = static_cast<uint64_t>(counter);
  handle->pool()->Seal(std::move(run));
  return RawResult(env, bytes);
}

// sendLater(pool, runs, runCount, entries): 0 or -errno. One entry a run.
napi_value SendLaterCall(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  uint32_t count = 0;
  if (!TakeArguments(env, info, arguments) || !TakeUint(env, arguments[2], &count)) {
    return RawResult(env, -EINVAL);
  }
  auto* const handle = ExternalOf<PoolHandle>(env, arguments[0]);
  if (handle == nullptr || handle->pool() == nullptr) return RawResult(env, -EBADF);
  const uint8_t* const runs = BytesOf(env, arguments[1], count * sizeof(PacketRun));
  const uint8_t* const entries = BytesOf(env, arguments[3], count * sizeof(DatagramEntry));
  BatchView batch;
  const int error = TakeBatch(env, handle->memory(handle->pool()->WaitForPlace()), &batch);
  if (error < 0) return RawResult(env, error);
  if (runs == nullptr || entries == nullptr) return RawResult(env, -EINVAL);
  handle->pool()->Send(batch, reinterpret_cast<const PacketRun*>(runs), count,
                       reinterpret_cast<const DatagramEntry*>(entries));
  return RawResult(env, 0);
}

}  // namespace

void RegisterSealingCalls(Napi::Env env, Napi::Object exports) {
  Export<NewSealingPoolCall>(env, exports, "newSealingPool");
  Export<StopSealingPoolCall>(env, exports, "stopSealingPool");
  Export<UseSealingSocketCall>(env, exports, "useSealingSocket");
  ExportRaw(env, exports, "waitForSealing", WaitForSealingCall);
  ExportRaw(env, exports, "isSealingIdle", IsSealingIdleCall);
  ExportRaw(env, exports, "sealLater", SealLaterCall);
  ExportRaw(env, exports, "sendLater", SendLaterCall);
}

}  // namespace tuntap
