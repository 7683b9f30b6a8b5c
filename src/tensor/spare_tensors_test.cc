#include "tensor/spare_tensors.h"

#include <gtest/gtest.h>

#include "tensor/tensor.h"

namespace vlm {
namespace {

TEST(SpareTensors, OutliveTheirScopeAndSmallOnesAreOrdinary) {
  Tensor large, small, before = at::ones({1 << 20});
  {
    SpareTensors spare;
    large = at::ones({1 << 20});
    small = at::ones({3});
    before = Tensor();
    large = large + at::gelu(at::ones({1 << 20}));  // oneDNN takes its memory by raw pointers
  }
  EXPECT_EQ(small.sum().item<float>(), 3);
  EXPECT_NEAR(large.sum().item<float>(), 1.84134 * (1 << 20), 50);
  large = Tensor();
  EXPECT_EQ(at::ones({1 << 20}).sum().item<float>(), 1 << 20);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(SpareTensors, TakeTheMemoryOfThoseBefore) {
  SpareTensors spare;
  const void* first = at::empty({50000}).data_ptr();
  EXPECT_EQ(at::empty({50000}).data_ptr(), first);
}
#endif

}  // namespace
}  // namespace vlm
