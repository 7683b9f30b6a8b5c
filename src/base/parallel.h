// One pool of threads for everything: kernels, tensor library and BLAS share OpenMP's.
#pragma once

#include <cstdint>
#include <functional>

namespace vlm {

int num_threads();
void set_num_threads(int count);  // at least 1; also what the tensor library and BLAS use

// Calls body(first, last) on disjoint ranges that cover [begin, end), each at least `grain` long except the
// last. Nested calls run inline. An exception of any range is rethrown in the caller.
void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body);

}  // namespace vlm
