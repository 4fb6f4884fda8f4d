// pool.h - a few threads that share out chunks of work, the caller first among them.
//
//   run(chunks, body)   body(chunk, worker) once for each chunk in [0, chunks); worker in [0, threads)
//
// READ FIRST
//   1. Each worker has a share of the chunks, the same at each run, so that weights stay in its core's caches. It claims them
//      one by one from the front; then it takes over half of what another has left. The caller takes part, so it can finish
//      alone, and waits only for chunks that another thread has already begun: a busy second core costs at most one chunk.
//   2. One run at a time: a pool belongs to one session. What a body throws, on whichever thread, leaves `run` once
//      all chunks are done.
//   3. `scratch(worker, bytes)` is the worker's own memory, `shared(bytes)` that of all: 64-byte aligned, valid until
//      the next call, never zeroed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tersenet/runtime/aligned.h"

namespace tersenet {

class Pool {
 public:
  // threads >= 1, the caller among them. Fewer run where the system gives no more.
  explicit Pool(int threads) : scratch_(size_t(threads < 1 ? 1 : threads)), shares_(new Share[scratch_.size()]) {
    try {
      for (int worker = 1; worker < threads; ++worker) others_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::exception&) {
      scratch_.resize(others_.size() + 1);
    }
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& other : others_) other.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return int(others_.size()) + 1; }

  // Whether the caller does everything by itself from now on.
  void stay_alone(bool alone) { alone_ = alone; }

  // `worth` says whether there is enough to do (about 15 us) to call others.
  template <class Body>
  void run(size_t chunks, const Body& body, bool worth = true) {
    if (others_.empty() || chunks <= 1 || !worth || alone_) {
      for (size_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
      return;
    }
    const std::function<void(size_t, int)> call = [&body](size_t chunk, int worker) { body(chunk, worker); };
    bool wake;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = &call;
      const size_t all = scratch_.size();
      for (size_t k = 0; k < all; ++k) shares_[k].left.store(chunks * k / all | chunks * (k + 1) / all << 32, std::memory_order_relaxed);
      ++round_;
      open_.store(round_, std::memory_order_release);
      wake = sleeping_ > 0;
    }
    if (wake) wake_.notify_all();
    work_apart(call);
    std::unique_lock<std::mutex> lock(mutex_);
    body_ = nullptr;  // whoever wakes from here on finds nothing to do
    if (busy_.load() != 0) {  // with a chunk that takes less than to sleep and wake
      lock.unlock();
      for (int spin = 0; spin < kSpins && busy_.load(std::memory_order_acquire) != 0; ++spin) pause();
      lock.lock();
      idle_.wait(lock, [this] { return busy_.load() == 0; });
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // At least `bytes` of the worker's own, kept between calls.
  void* scratch(int worker, size_t bytes) {
    AlignedBytes& own = scratch_[size_t(worker)];
    if (own.size() < bytes) own = AlignedBytes(bytes);
    return own.data();
  }

  // The same for all workers of a run: its caller takes it before, bodies read and write it.
  void* shared(size_t bytes) {
    if (shared_.size() < bytes) shared_ = AlignedBytes(bytes);
    return shared_.data();
  }

  size_t scratch_bytes() const {
    size_t sum = shared_.size();
    for (const AlignedBytes& own : scratch_) sum += own.size();
    return sum;
  }

 private:
  static constexpr int kSpins = 4000;  // about 50 us
  // Chunks from the low half of `left` to its high half are nobody's yet.
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};
  };

  std::vector<AlignedBytes> scratch_;
  std::unique_ptr<Share[]> shares_;  // one a worker
  AlignedBytes shared_;
  std::vector<std::thread> others_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  const std::function<void(size_t, int)>* body_ = nullptr;
  uint64_t round_ = 0;
  std::atomic<uint64_t> open_{0};
  std::atomic<int> busy_{0};
  int sleeping_ = 0;
  std::exception_ptr failure_;
  bool stop_ = false, alone_ = false;

  bool claim(size_t worker, size_t* chunk) {
    std::atomic<uint64_t>& own = shares_[worker].left;
    const auto begin = [](uint64_t left) { return left & 0xffffffff; };
    for (uint64_t left = own.load(std::memory_order_relaxed); begin(left) < left >> 32;) {
      *chunk = begin(left);
      if (own.compare_exchange_weak(left, left + 1, std::memory_order_relaxed)) return true;
    }
    for (size_t k = 1; k < scratch_.size(); ++k) {
      std::atomic<uint64_t>& other = shares_[(worker + k) % scratch_.size()].left;
      for (uint64_t left = other.load(std::memory_order_relaxed); begin(left) < left >> 32;) {
        const uint64_t middle = (begin(left) + (left >> 32)) / 2;
        if (!other.compare_exchange_weak(left, begin(left) | middle << 32, std::memory_order_relaxed)) continue;
        own.store((middle + 1) | left >> 32 << 32, std::memory_order_relaxed);
        *chunk = middle;
        return true;
      }
    }
    return false;
  }

  void work(const std::function<void(size_t, int)>& body, int worker) {
    for (size_t chunk; claim(size_t(worker), &chunk);) {
      try {
        body(chunk, worker);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    }
  }

  // What bodies read lies in the frames of those who called `run`: a gap keeps the lines that the caller's own chunks write
  // apart from those that the others read.
#if defined(__GNUC__)
  __attribute__((noinline)) void work_apart(const std::function<void(size_t, int)>& body) {
    char gap[256];
    __asm__ volatile("" : : "r"(gap));
    work(body, 0);
    __asm__ volatile("" : : "r"(gap));
  }
#else
  void work_apart(const std::function<void(size_t, int)>& body) { work(body, 0); }
#endif

  // Networks are chains of short runs: a worker looks for the next one for a while before it sleeps.
  void serve(int worker) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && open_.load(std::memory_order_acquire) == seen; ++spin) pause();
      const std::function<void(size_t, int)>* body;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleeping_;
        wake_.wait(lock, [&] { return stop_ || round_ != seen; });
        --sleeping_;
        if (stop_) return;
        seen = round_;
        body = body_;
        if (body == nullptr) continue;
        ++busy_;
      }
      work(*body, worker);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        if (--busy_ == 0) idle_.notify_one();
      }
    }
  }

  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
};

}  // namespace tersenet
