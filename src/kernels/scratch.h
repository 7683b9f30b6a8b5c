// Working memory of kernels, and loops that balance themselves.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "base/parallel.h"

namespace vlm::kernels {

// A buffer that grows and is kept for the next call: fresh memory costs a page fault every 4 KB. Aligned for
// any vector. Declare as `static thread_local`.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* get(int64_t count) {
    size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    if (bytes > bytes_) {
      std::free(data_);
      bytes_ = 0;
      data_ = std::aligned_alloc(kAlignment, bytes);
      if (!data_) throw std::bad_alloc();
      bytes_ = bytes;
    }
    return static_cast<T*>(data_);
  }

 private:
  static constexpr size_t kAlignment = 64;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// How many threads `count` tasks of `operations` arithmetic operations in all are worth: less than some 20
// microseconds do not pay for waking one.
inline int64_t useful_threads(int64_t count, int64_t operations) {
  constexpr int64_t kOperationsForAThread = 1 << 18;
  return std::min({int64_t{num_threads()}, count, operations / kOperationsForAThread + 1});
}

// body(idx) for every idx of [0, count), `operations` arithmetic operations in all. Threads take the next
// index when they are done with one, so a thread that the machine holds up does not hold up the others.
template <typename Body>
void for_each_balanced(int64_t count, int64_t operations, const Body& body) {
  const int64_t threads = useful_threads(count, operations);
  std::atomic<int64_t> next{0};
  parallel_for(0, threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker)
      for (int64_t idx = next++; idx < count; idx = next++) body(idx);
  });
}

// The same for work that reads one stretch of memory from end to end: a thread takes runs of neighbouring
// indices, so that it reads on where it was; half of its share of what is left, so that all end together.
template <typename Body>
void for_each_in_runs(int64_t count, int64_t operations, const Body& body) {
  const int64_t threads = useful_threads(count, operations);
  std::atomic<int64_t> next{0};
  parallel_for(0, threads, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker)
      for (int64_t from = next; from < count;) {
        const int64_t to = from + std::max<int64_t>((count - from) / (2 * threads), 1);
        if (!next.compare_exchange_weak(from, to)) continue;
        for (int64_t idx = from; idx < to; ++idx) body(idx);
        from = next;
      }
  });
}

}  // namespace vlm::kernels
