#include "ops/linear.h"

#include <gtest/gtest.h>

#include "kernels/cpu.h"
#include "tensor/group_layout.h"

namespace vlm::ops {
namespace {

double relative_error(const Tensor& got, const Tensor& wanted) {
  return ((got.to(at::kDouble) - wanted.to(at::kDouble)).norm() / wanted.to(at::kDouble).norm())
      .item<double>();
}

// Switches kernels off while it lives.
struct Plain {
  Plain() { set_kernels_enabled(false); }
  ~Plain() { set_kernels_enabled(true); }
};

// kernels/quantised_test.cc compares 4 bits with plain rounding, and 8 bits, rotated, with their bounds.
TEST(Linear, QuantisesAndUnpacksClosely) {
  at::manual_seed(1);
  Tensor weight = at::randn({24, 96});
  for (int bits : {8, 4}) {
    Tensor unpacked = unpack_matrix(quantise_matrix(weight, bits));
    EXPECT_LT(relative_error(unpacked, weight), bits == 8 ? 0.007 : 0.075) << bits;
  }
}

TEST(Linear, GroupsRoundTrip) {
  at::manual_seed(2);
  for (int64_t in : {64, 104})  // the second with a last group of 8
    for (int bits : {8, 4}) {
      Tensor weight = at::randn({40, in}).to(at::kBFloat16);
      auto [quants, scales, minimums] = round_to_groups(weight, bits, Tensor());
      EXPECT_EQ(minimums.defined(), bits == 4);
      Matrix matrix = pack_matrix(quants, scales, minimums);
      EXPECT_TRUE(at::allclose(unpack_matrix(matrix), dequantise_groups(quants, scales, minimums)));
      EXPECT_LT(relative_error(unpack_matrix(matrix), weight.to(at::kFloat)), bits == 8 ? 0.006 : 0.075);
      EXPECT_LT(matrix_bytes(matrix), 48 * groups_of_row(in) * (bits == 8 ? 37 : 23));
    }
}

// Groups that a file has but the kernels do not: 16 (rounded again), 64, one for a row; rows of odd length.
TEST(Linear, TakesGroupsOfAnyLength) {
  at::manual_seed(3);
  for (int64_t in : {64, 192, 48, 36})
    for (int64_t group : {int64_t{16}, int64_t{64}, in}) {
      if (in % group != 0) continue;
      Tensor quants = at::randint(-127, 128, {20, in}, at::kChar), scales = at::rand({20, in / group}) + 0.5;
      Tensor wanted =
          (quants.to(at::kFloat).view({20, in / group, group}) * scales.unsqueeze(2)).view({20, in});
      EXPECT_LT(relative_error(unpack_matrix(pack_matrix(quants, scales, Tensor())), wanted), 0.006)
          << in << " in groups of " << group;
    }
}

// Numbers that bfloat16 holds, to which x may be rounded beside its weights.
Tensor short_numbers(at::IntArrayRef shape) {
  return at::randn(shape).to(at::kBFloat16).to(at::kFloat);
}

// Kernels round x to 8 bits in groups of 32: relative to the product of normal numbers that is 0.7 %.
TEST(Linear, KernelIsTheDefinition) {
  at::manual_seed(4);
  for (int64_t rows : {1, 3, 8, 9, 40})
    for (int64_t out : {1, 17, 70}) {
      const int64_t in = out == 17 ? 120 : 128;
      Tensor weight = at::randn({out, in}), bias = at::randn({out}), x = short_numbers({rows, in});
      std::vector<std::pair<Matrix, double>> matrices = {
          {dense_matrix(weight), 1e-6},
          {dense_matrix(weight.to(at::kBFloat16)), 1e-6},
          {dense_matrix(weight.to(at::kHalf)), 1e-6},
          {quantise_matrix(weight, 8), 0.015},
          {quantise_matrix(weight, 4), 0.015},
      };
      for (const auto& [matrix, bound] : matrices) {
        Tensor wanted;
        {
          Plain plain;
          wanted = linear(x, matrix, bias);
        }
        EXPECT_LT(relative_error(linear(x, matrix, bias), wanted), bound) << rows << " " << out;
        EXPECT_EQ(linear(x.view({rows, 1, in}), matrix, Tensor()).sizes(), (Shape{rows, 1, out}));
      }
    }
}

TEST(Linear, TakesViewsWithGaps) {
  at::manual_seed(5);
  Tensor wide = short_numbers({30, 3, 64}), weight = at::randn({20, 64});
  Tensor x = wide.select(1, 1);
  Matrix matrix = dense_matrix(weight.to(at::kBFloat16));
  EXPECT_LT(relative_error(linear(x, matrix, Tensor()), at::linear(x, unpack_matrix(matrix))), 1e-6);
  Matrix slice = dense_matrix(at::randn({20, 100}).to(at::kBFloat16).narrow(1, 30, 64));
  EXPECT_LT(relative_error(linear(x, slice, Tensor()), at::linear(x, unpack_matrix(slice))), 1e-6);
}

TEST(Linear, NoRowsGiveNoRows) {
  EXPECT_EQ(linear(at::zeros({0, 64}), quantise_matrix(at::randn({5, 64}), 8), Tensor()).sizes(),
            (Shape{0, 5}));
}

TEST(Linear, GradientsFlowThroughTheDefinition) {
  at::manual_seed(6);
  Tensor weight = at::randn({5, 32}), outer = at::randn({3, 5});
  for (Matrix matrix : {dense_matrix(weight), quantise_matrix(weight, 8)}) {
    Tensor x = at::randn({3, 32}).requires_grad_(true);
    (linear(x, matrix, Tensor()) * outer).sum().backward();
    EXPECT_LT(relative_error(x.grad(), at::matmul(outer, unpack_matrix(matrix))), 1e-6);
  }
  Tensor variable = weight.clone().requires_grad_(true), x = at::randn({3, 32});
  (linear(x, dense_matrix(variable), Tensor()) * outer).sum().backward();
  EXPECT_LT(relative_error(variable.grad(), at::matmul(outer.t(), x)), 1e-6);
}

TEST(Linear, DoesNotDependOnTheNumberOfRowsBesideIt) {
  at::manual_seed(7);
  Tensor x = at::randn({40, 256});
  Matrix matrix = quantise_matrix(at::randn({64, 256}), 4);
  Tensor all = linear(x, matrix, Tensor());
  EXPECT_LT((linear(x.narrow(0, 5, 1), matrix, Tensor()) - all.narrow(0, 5, 1)).abs().max().item<float>(),
            1e-4);
}

TEST(Linear, TogetherIsEachAlone) {
  at::manual_seed(8);
  for (int64_t rows : {1, 3, 30})
    for (int other_bits : {8, 4}) {
      Tensor x = at::randn({rows, 2, 96}), bias = at::randn({70});
      std::vector<Matrix> matrices = {quantise_matrix(at::randn({70, 96}), 4),
                                      quantise_matrix(at::randn({17, 96}), other_bits),
                                      quantise_matrix(at::randn({32, 96}), 4)};
      std::vector<Tensor> found = linear_together(
          x, std::vector<LinearArgs>{{&matrices[0], bias}, {&matrices[1], {}}, {&matrices[2], {}}});
      ASSERT_EQ(found.size(), 3u);
      for (size_t idx = 0; idx < 3; ++idx)
        EXPECT_TRUE(at::equal(found[idx], linear(x, matrices[idx], idx == 0 ? bias : Tensor()))) << rows;
    }
  Matrix narrow = dense_matrix(at::randn({5, 64})), wide = dense_matrix(at::randn({5, 96}));
  EXPECT_THROW(linear_together(at::randn({2, 96}), std::vector<LinearArgs>{{&wide, {}}, {&narrow, {}}}),
               std::exception);
}

TEST(Linear, ActivatesAndGatesItsOutputs) {
  at::manual_seed(9);
  for (int64_t rows : {1, 3, 90})
    for (int bits : {8, 4, 16}) {
      auto matrix = [&] {
        Tensor weight = at::randn({70, 96});
        return bits == 16 ? dense_matrix(weight.to(at::kBFloat16)) : quantise_matrix(weight, bits);
      };
      Tensor x = at::randn({rows, 96}), bias = at::randn({70});
      Matrix up = matrix(), gate = matrix();
      EXPECT_TRUE(
          at::equal(linear(x, up, bias, Act::gelu_erf), activate(linear(x, up, bias), Act::gelu_erf)));
      EXPECT_TRUE(at::equal(linear_gated(x, {&gate, bias}, {&up, {}}, Act::silu),
                            gated(linear(x, gate, bias), linear(x, up, Tensor()), Act::silu)));
      x.requires_grad_(true);
      EXPECT_TRUE(linear_gated(x, {&gate, bias}, {&up, {}}, Act::silu).requires_grad());
      EXPECT_TRUE(linear(x, up, bias, Act::gelu_erf).requires_grad());
    }
  Matrix wide = quantise_matrix(at::randn({80, 96}), 8), narrow = quantise_matrix(at::randn({70, 96}), 8);
  EXPECT_THROW(linear_gated(at::randn({2, 96}), {&wide, {}}, {&narrow, {}}, Act::silu), std::exception);
}

TEST(Kernels, AreDescribed) {
  std::string text = kernels::kernels_description();
  EXPECT_NE(text.find("compiled: "), std::string::npos) << text;
  EXPECT_NE(text.find(kernels::target_name(kernels::usable_targets().back())), std::string::npos) << text;
}

}  // namespace
}  // namespace vlm::ops
