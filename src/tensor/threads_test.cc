#include "tensor/threads.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "base/parallel.h"
#include "tensor/tensor.h"

namespace vlm {
namespace {

TEST(ShareThreads, TheTensorLibraryKeepsOurCount) {
  int before = num_threads();
  set_num_threads(3);
  share_threads();
  Tensor large = at::ones({1 << 20});
  EXPECT_EQ(at::sum(at::exp(large)).numel(), 1);  // a loop of the library's own
  EXPECT_EQ(num_threads(), 3);
  EXPECT_EQ(at::get_num_threads(), 3);
  set_num_threads(before);
  share_threads();
}

TEST(UseOneThread, LastsBeyondTheLibrarysFirstLoop) {
  int before = num_threads();
  set_num_threads(3);
  share_threads();
  std::thread([] {
    use_one_thread();
    EXPECT_EQ(at::exp(at::ones({1 << 20})).numel(), 1 << 20);
    EXPECT_EQ(num_threads(), 1);
    EXPECT_EQ(at::get_num_threads(), 1);
    EXPECT_EQ(omp_get_max_threads(), 1);
  }).join();
  EXPECT_EQ(num_threads(), 3);
  set_num_threads(before);
  share_threads();
}

}  // namespace
}  // namespace vlm
