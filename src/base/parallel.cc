#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace vlm {

int num_threads() {
  return omp_get_max_threads();
}

void set_num_threads(int count) {
  omp_set_num_threads(std::max(1, count));
}

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body) {
  int64_t total = end - begin;
  if (total <= 0) return;
  int64_t pieces = std::min<int64_t>(num_threads(),
                                     (total + std::max<int64_t>(grain, 1) - 1) / std::max<int64_t>(grain, 1));
  if (pieces <= 1 || omp_in_parallel()) {
    body(begin, end);
    return;
  }
  std::exception_ptr problem;
  std::atomic_flag has_problem = ATOMIC_FLAG_INIT;
#pragma omp parallel for num_threads(static_cast <int>(pieces)) schedule(static, 1)
  for (int64_t piece = 0; piece < pieces; ++piece) {
    try {
      body(begin + total * piece / pieces, begin + total * (piece + 1) / pieces);
    } catch (...) {  // an exception must not leave an OpenMP region
      if (!has_problem.test_and_set()) problem = std::current_exception();
    }
  }
  if (problem) std::rethrow_exception(problem);
}

}  // namespace vlm
