#include "ops/rounded_linear.h"

#include <gtest/gtest.h>

#include "ops/linear.h"

namespace vlm::ops {
namespace {

struct Plain {
  Plain() { set_kernels_enabled(false); }
  ~Plain() { set_kernels_enabled(true); }
};

struct Step {
  Tensor y, dx, dw, db;
};

Step step(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& outer) {
  Tensor x_leaf = x.clone().requires_grad_(true), w_leaf = weight.clone().requires_grad_(true);
  Tensor b_leaf = bias.defined() ? bias.clone().requires_grad_(true) : bias;
  Tensor y = rounded_linear(x_leaf, w_leaf, b_leaf);
  (y * outer).sum().backward();
  return {y.detach(), x_leaf.grad(), w_leaf.grad(), bias.defined() ? b_leaf.grad() : bias};
}

// Largest difference, by what the magnitudes of the terms add up to.
double error(const Tensor& got, const Tensor& wanted, const Tensor& magnitude) {
  return ((got.to(at::kDouble) - wanted).abs() / (magnitude + 1e-30)).max().item<double>();
}

TEST(RoundedLinear, KernelIsTheDefinition) {
  at::manual_seed(1);
  for (int64_t rows : {1, 7, 50, 333})
    for (int64_t out : {1, 17, 96}) {
      Tensor x = at::randn({rows, 40}), weight = at::randn({out, 40}), outer = at::randn({rows, out});
      Tensor bias = out == 17 ? Tensor() : at::randn({out});
      Step wanted, found = step(x, weight, bias, outer);
      {
        Plain plain;
        wanted = step(x, weight, bias, outer);
      }
      EXPECT_TRUE(at::allclose(found.y, wanted.y, 1e-5, 1e-5)) << rows << " " << out;
      EXPECT_TRUE(at::allclose(found.dx, wanted.dx, 1e-5, 1e-5)) << rows << " " << out;
      EXPECT_TRUE(at::allclose(found.dw, wanted.dw, 1e-5, 1e-4)) << rows << " " << out;
      if (!bias.defined()) continue;
      EXPECT_TRUE(at::allclose(found.db, wanted.db, 1e-5, 1e-4)) << rows << " " << out;
    }
}

// Both factors have a relative error of at most 2^-8 each, half of that with rounding to the nearest.
TEST(RoundedLinear, IsTheExactProductWithinBfloat16) {
  at::manual_seed(2);
  Tensor x = at::randn({60, 200}), weight = at::randn({48, 200}), bias = at::randn({48});
  Tensor outer = at::randn({60, 48});
  Step found = step(x, weight, bias, outer);
  Tensor xd = x.to(at::kDouble), wd = weight.to(at::kDouble), od = outer.to(at::kDouble);
  constexpr double kBound = 0x1p-8 * 1.01;
  EXPECT_LT(error(found.y, at::linear(xd, wd, bias.to(at::kDouble)), at::mm(xd.abs(), wd.abs().t())), kBound);
  EXPECT_LT(error(found.dx, at::mm(od, wd), at::mm(od.abs(), wd.abs())), kBound);
  EXPECT_LT(error(found.dw, at::mm(od.t(), xd), at::mm(od.abs().t(), xd.abs())), kBound);
  EXPECT_LT(error(found.db, od.sum(0), od.abs().sum(0)), 1e-6);
  EXPECT_GT(error(found.y, at::linear(xd, wd, bias.to(at::kDouble)), at::mm(xd.abs(), wd.abs().t())), 1e-6);
}

TEST(RoundedLinear, TakesAnyShapeAndViews) {
  at::manual_seed(3);
  Tensor wide = at::randn({2, 9, 3, 24}), weight = at::randn({10, 24});
  for (const Tensor& x : {wide.select(2, 1), wide, wide.select(2, 0).transpose(0, 1)}) {
    Tensor wanted;
    {
      Plain plain;
      wanted = rounded_linear(x, weight, Tensor());
    }
    EXPECT_TRUE(at::allclose(rounded_linear(x, weight, Tensor()), wanted, 1e-5, 1e-5));
  }
  EXPECT_EQ(rounded_linear(at::zeros({0, 24}), weight, Tensor()).sizes(), (Shape{0, 10}));
  // Gradients that come expanded, or transposed.
  Tensor x = at::randn({20, 24}).requires_grad_(true), leaf = weight.clone().requires_grad_(true);
  rounded_linear(x, leaf, Tensor()).sum().backward();
  EXPECT_LT(((x.grad() - weight.sum(0)).abs().max().item<double>()), 0.05);
  rounded_linear(x, leaf, Tensor()).t().contiguous().sum().backward();
}

TEST(RoundedLinear, GivesOnlyGradientsThatAreAskedFor) {
  at::manual_seed(4);
  Tensor x = at::randn({20, 24}), weight = at::randn({10, 24});
  Tensor learns = x.clone().requires_grad_(true);
  rounded_linear(learns, weight, Tensor()).sum().backward();
  EXPECT_TRUE(learns.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
  Tensor leaf = weight.clone().requires_grad_(true);
  rounded_linear(x, leaf, Tensor()).sum().backward();
  EXPECT_TRUE(leaf.grad().defined());
  EXPECT_FALSE(rounded_linear(x, weight, Tensor()).requires_grad());
}

}  // namespace
}  // namespace vlm::ops
