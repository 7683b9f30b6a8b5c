#include "ops/roofs.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>

#include "base/parallel.h"
#include "kernels/roofs.h"

namespace vlm::ops {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kTries = 5;
constexpr double kTry_seconds = 0.02;
constexpr int64_t kMemory_bytes = int64_t{512} << 20;  // far beyond the last cache
constexpr int64_t kPiece_bytes = int64_t{1} << 20;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Operations a second of all threads, the best of some tries. Every thread does the same work.
double best_rate(double (*multiply)(int64_t rounds)) {
  int64_t rounds = int64_t{1} << 16;
  if (multiply(rounds) == 0) return 0;
  auto once = [&] {
    auto start = Clock::now();
    multiply(rounds);
    return seconds_since(start);
  };
  while (once() < kTry_seconds) rounds *= 2;
  double best = 0, operations = multiply(1) * static_cast<double>(rounds) * num_threads();
  for (int attempt = 0; attempt < kTries; ++attempt) {
    auto start = Clock::now();
    parallel_for(0, num_threads(), 1, [&](int64_t first, int64_t last) {
      for (int64_t thread = first; thread < last; ++thread) multiply(rounds);
    });
    best = std::max(best, operations / seconds_since(start));
  }
  return best;
}

double best_read_rate() {
  std::unique_ptr<std::byte[]> memory(new std::byte[kMemory_bytes + 64]);
  auto begin = (reinterpret_cast<uintptr_t>(memory.get()) + 63) / 64 * 64;
  int64_t pieces = kMemory_bytes / kPiece_bytes;
  auto for_pieces = [&](const auto& body) {
    parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
      body(reinterpret_cast<std::byte*>(begin) + first * kPiece_bytes, (last - first) * kPiece_bytes);
    });
  };
  for_pieces([](std::byte* data, int64_t size) { std::fill_n(data, size, std::byte{1}); });
  std::atomic<uint64_t> sum{0};
  double best = 0;
  for (int attempt = 0; attempt < 2 * kTries; ++attempt) {
    auto start = Clock::now();
    for_pieces([&](const std::byte* data, int64_t size) { sum += kernels::read_memory(data, size); });
    best = std::max(best, static_cast<double>(kMemory_bytes) / seconds_since(start));
  }
  return best;
}

}  // namespace

Roofs measure_roofs() {
  Roofs roofs;
  roofs.floats = best_rate(kernels::multiply_floats);
  roofs.halves = std::max(best_rate(kernels::multiply_halves), roofs.floats);
  roofs.bytes = best_rate(kernels::multiply_bytes);
  roofs.nibbles = std::max(best_rate(kernels::multiply_nibbles), roofs.bytes);
  roofs.read_bytes = best_read_rate();
  return roofs;
}

}  // namespace vlm::ops
