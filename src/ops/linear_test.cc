#include "ops/linear.h"

#include <gtest/gtest.h>

namespace vlm::ops {
namespace {

Tensor relative_error(const Tensor& got, const Tensor& wanted) {
  return (got - wanted).norm() / wanted.norm();
}

TEST(Linear, QuantisesAndUnpacksWithinHalfAStep) {
  at::manual_seed(1);
  Tensor weight = at::randn({24, 96});
  for (int bits : {8, 4}) {
    Matrix matrix = quantise_matrix(weight, bits);
    Tensor step =
        at::pow(weight.view({24, 3, 32}).abs().amax(2, true), 1) * (bits == 8 ? 1.0 / 127 : 2.0 / 15);
    Tensor error = (unpack_matrix(matrix) - weight).abs().view({24, 3, 32});
    EXPECT_LT((error / step).max().item<float>(), 0.51) << bits;
  }
}

TEST(Linear, GroupsRoundTrip) {
  at::manual_seed(2);
  for (int bits : {8, 4}) {
    Matrix matrix = quantise_matrix(at::randn({40, 64}), bits);
    auto [quants, scales, minimums] = groups_of(matrix);
    Matrix again = pack_matrix(quants, scales, minimums);
    EXPECT_TRUE(at::equal(unpack_matrix(matrix), unpack_matrix(again))) << bits;
  }
}

TEST(Linear, QuantisedProductIsNearTheFloatOne) {
  at::manual_seed(3);
  Tensor weight = at::randn({70, 128}), bias = at::randn({70}), x = at::randn({2, 9, 128});
  Tensor wanted = at::linear(x, weight, bias);
  EXPECT_LT(relative_error(linear(x, quantise_matrix(weight, 8), bias), wanted).item<float>(), 0.012);
  EXPECT_LT(relative_error(linear(x, quantise_matrix(weight, 4), bias), wanted).item<float>(), 0.12);
}

}  // namespace
}  // namespace vlm::ops
