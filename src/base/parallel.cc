#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace vlm {

namespace {

// Longer than what lies between two loops of a decoder's layer, shorter than a time slice of the system.
constexpr std::chrono::microseconds kIdleSpin{100};
// At the end of a loop only the last ranges are still under way. When one takes longer than this, its thread
// has lost its processor: sleeping gives it the caller's.
constexpr std::chrono::microseconds kJoinSpin{30};

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Returns once the value is no longer `old`.
template <typename T>
void wait_for_change(const std::atomic<T>& value, T old, std::chrono::microseconds spin) {
  const auto give_up = std::chrono::steady_clock::now() + spin;
  do {
    for (int step = 0; step < 16; ++step) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  value.wait(old, std::memory_order_acquire);
}

thread_local bool is_in_loop = false;

class Pool {
 public:
  // One for the process, never destroyed: its threads sleep until the process ends.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  // False: another caller's loop runs.
  bool try_run(int64_t begin, int64_t end, int64_t pieces, int threads, RangeBody body) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    run(begin, end, pieces, threads, body);
    return true;
  }

  void run_when_free(int64_t begin, int64_t end, int64_t pieces, int threads, RangeBody body) {
    std::lock_guard lock(mutex_);
    run(begin, end, pieces, threads, body);
  }

 private:
  struct Job {
    const RangeBody* body = nullptr;
    int64_t begin = 0, total = 0, pieces = 0;
    std::exception_ptr problem;  // the first
  };

  // The gate counts how many threads may still join the job (upper half) and how many are in it (lower half).
  // A job changes only when nobody may join and nobody is in it.
  static constexpr uint32_t kPlace = 1u << 16;

  void run(int64_t begin, int64_t end, int64_t pieces, int threads, const RangeBody& body) {
    for (; num_helpers_ < threads - 1; ++num_helpers_) std::thread([this] { help(); }).detach();
    job_ = {&body, begin, end - begin, pieces, nullptr};
    next_.store(0, std::memory_order_relaxed);
    has_problem_.clear(std::memory_order_relaxed);
    gate_.store(kPlace * static_cast<uint32_t>(threads - 1), std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    if (threads - 1 >= num_helpers_)
      round_.notify_all();
    else
      for (int helper = 1; helper < threads; ++helper) round_.notify_one();
    work();
    uint32_t helpers = gate_.fetch_and(kPlace - 1, std::memory_order_acq_rel) & (kPlace - 1);
    while (helpers != 0) {
      wait_for_change(gate_, helpers, kJoinSpin);
      helpers = gate_.load(std::memory_order_acquire);
    }
    if (job_.problem) std::rethrow_exception(std::exchange(job_.problem, nullptr));
  }

  void work() {
    is_in_loop = true;
    for (;;) {
      const int64_t piece = next_.fetch_add(1, std::memory_order_relaxed);
      if (piece >= job_.pieces) break;
      try {
        (*job_.body)(job_.begin + job_.total * piece / job_.pieces,
                     job_.begin + job_.total * (piece + 1) / job_.pieces);
      } catch (...) {
        if (!has_problem_.test_and_set()) job_.problem = std::current_exception();
      }
    }
    is_in_loop = false;
  }

  bool join() {
    uint32_t gate = gate_.load(std::memory_order_acquire);
    while (gate >= kPlace)
      if (gate_.compare_exchange_weak(gate, gate - kPlace + 1, std::memory_order_acq_rel)) return true;
    return false;
  }

  void help() {
    uint32_t seen = 0;
    for (;;) {
      wait_for_change(round_, seen, kIdleSpin);
      seen = round_.load(std::memory_order_acquire);
      if (!join()) continue;
      work();
      if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
    }
  }

  std::mutex mutex_;  // of the caller whose loop runs
  int num_helpers_ = 0;
  Job job_;
  std::atomic_flag has_problem_ = ATOMIC_FLAG_INIT;
  // On cache lines of their own: each is written by other threads than read the rest.
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<int64_t> next_{0};
};

// More ranges than threads, so that one whose thread is held up does not hold up much.
constexpr int64_t kRangesForAThread = 4;
constexpr int kMostThreads = 4096;

// Numbers of our own: OpenMP's are changed by the tensor library as well. What the process starts with is
// read before that.
const int threads_at_start = std::clamp(omp_get_max_threads(), 1, kMostThreads);
thread_local int wanted_threads = threads_at_start;

}  // namespace

int num_threads() {
  return wanted_threads;
}

void set_num_threads(int count) {
  wanted_threads = std::clamp(count, 1, kMostThreads);
  omp_set_num_threads(wanted_threads);
}

void parallel_for(int64_t begin, int64_t end, int64_t grain, RangeBody body) {
  const int64_t total = end - begin;
  if (total <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = std::min(kRangesForAThread * num_threads(), (total + grain - 1) / grain);
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), pieces));
  if (threads <= 1 || is_in_loop || omp_in_parallel() ||
      !Pool::instance().try_run(begin, end, pieces, threads, body))
    body(begin, end);
}

void on_every_thread(const std::function<void()>& body) {
  const int threads = num_threads();
  std::atomic<int> waiting{threads};
  // Each waits for the others, so no thread takes two.
  auto meet = [&](int64_t, int64_t) {
    body();
    if (waiting.fetch_sub(1) == 1) waiting.notify_all();
    for (int left = waiting.load(); left > 0; left = waiting.load()) waiting.wait(left);
  };
  Pool::instance().run_when_free(0, threads, threads, threads, meet);
#pragma omp parallel num_threads(threads)
  body();
}

}  // namespace vlm
