// Norms, rotary positions and activations: the kernel is the definition, and the definition is
// differentiable.
#include <gtest/gtest.h>

#include <functional>

#include "ops/activation.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/residual.h"
#include "ops/rope.h"

namespace vlm::ops {
namespace {

using Function = std::function<Tensor(const Tensor&)>;

void expect_kernel_is_definition(const Function& function, const Tensor& x, double bound) {
  Tensor got = function(x);
  set_kernels_enabled(false);
  Tensor wanted = function(x);
  set_kernels_enabled(true);
  ASSERT_EQ(got.sizes(), wanted.sizes());
  EXPECT_LT((got - wanted).abs().max().item<float>(), bound);
}

// Against the central difference along a random direction, in float64.
void expect_gradient(const Function& function, const Tensor& x) {
  at::manual_seed(21);
  Tensor outer = at::randn(function(x).sizes(), at::kDouble), direction = at::randn_like(x);
  Tensor variable = x.clone().requires_grad_(true);
  (function(variable) * outer).sum().backward();
  double step = 1e-6;
  Tensor change = function(x + direction * step) - function(x - direction * step);
  double numeric = (change * outer).sum().item<double>() / (2 * step);
  EXPECT_NEAR((variable.grad() * direction).sum().item<double>(), numeric, 1e-6 * (1 + std::fabs(numeric)));
}

TEST(Norm, KernelIsTheDefinition) {
  at::manual_seed(1);
  Tensor weight = at::randn({48}), bias = at::randn({48});
  for (Tensor x : {at::randn({48}), at::randn({3, 48}) * 5, at::randn({2, 7, 48}),
                   at::randn({4, 60}).narrow(1, 6, 48), at::randn({2, 48, 5}).transpose(1, 2)}) {
    expect_kernel_is_definition([&](const Tensor& at_x) { return rms_norm(at_x, weight, 1e-6); }, x, 4e-6);
    expect_kernel_is_definition([&](const Tensor& at_x) { return layer_norm(at_x, weight, bias, 1e-5); }, x,
                                4e-6);
    expect_kernel_is_definition([&](const Tensor& at_x) { return layer_norm(at_x, weight, Tensor(), 1e-5); },
                                x, 4e-6);
  }
}

TEST(Norm, HasGradients) {
  at::manual_seed(2);
  Tensor x = at::randn({3, 10}, at::kDouble), weight = at::randn({10}, at::kDouble);
  expect_gradient([&](const Tensor& at_x) { return rms_norm(at_x, weight, 1e-6); }, x);
  expect_gradient([&](const Tensor& at_x) { return layer_norm(at_x, weight, weight, 1e-5); }, x);
}

TEST(Rope, KernelIsTheDefinition) {
  at::manual_seed(3);
  Tensor cos = at::randn({6, 9}), sin = at::randn({6, 9});
  Function function = [&](const Tensor& x) { return rope(x, cos, sin); };
  expect_kernel_is_definition(function, at::randn({6, 4, 18}), 2e-6);
  expect_kernel_is_definition(function, at::randn({6, 4, 25}), 2e-6);
  expect_kernel_is_definition(function, at::randn({6, 12, 20}).narrow(1, 4, 4), 2e-6);
  expect_kernel_is_definition(function, at::randn({4, 6, 20}).transpose(0, 1), 2e-6);
}

TEST(Rope, HasGradients) {
  at::manual_seed(4);
  Tensor cos = at::randn({5, 3}, at::kDouble), sin = at::randn({5, 3}, at::kDouble);
  expect_gradient([&](const Tensor& x) { return rope(x, cos, sin); }, at::randn({5, 2, 8}, at::kDouble));
}

TEST(Rope, RefusesAnglesThatDoNotFit) {
  EXPECT_THROW(rope(at::zeros({6, 4, 16}), at::zeros({5, 8}), at::zeros({5, 8})), Error);
  EXPECT_THROW(rope(at::zeros({6, 4, 16}), at::zeros({6, 9}), at::zeros({6, 9})), Error);
}

const Act kActs[] = {Act::identity, Act::relu,      Act::silu,      Act::tanh,
                     Act::gelu_erf, Act::gelu_tanh, Act::gelu_quick};

TEST(Activation, KernelIsTheDefinition) {
  at::manual_seed(5);
  for (Act act : kActs) {
    for (Tensor x : {at::randn({1}), at::randn({5, 33}) * 4, at::randn({2, 3, 40}),
                     at::randn({4, 80}).narrow(1, 40, 40)})
      expect_kernel_is_definition([&](const Tensor& at_x) { return activate(at_x, act); }, x, 4e-6);
    Tensor fused = at::randn({6, 90}) * 2;
    expect_kernel_is_definition(
        [&](const Tensor& x) { return gated(x.narrow(1, 0, 45), x.narrow(1, 45, 45), act); }, fused, 1e-5);
  }
}

TEST(Activation, HasGradients) {
  at::manual_seed(6);
  Tensor x = at::randn({4, 6}, at::kDouble), up = at::randn({4, 6}, at::kDouble);
  for (Act act : kActs) {
    expect_gradient([&](const Tensor& at_x) { return activate(at_x, act); }, x);
    expect_gradient([&](const Tensor& at_x) { return gated(at_x, up, act); }, x);
  }
}

TEST(Residual, IsTheSum) {
  at::manual_seed(7);
  Tensor x = at::randn({3, 70}), y = at::randn({3, 70}), wanted = x + y;
  EXPECT_TRUE(at::equal(add_residual(x, y.t().contiguous().t()), wanted));  // rows with gaps
  at::NoGradGuard no_grad;
  Tensor found = add_residual(x, y);
  EXPECT_TRUE(at::equal(found, wanted));
  EXPECT_EQ(found.data_ptr(), y.data_ptr());
}

TEST(Residual, HasGradients) {
  Tensor y = at::randn({4, 6}, at::kDouble);
  expect_gradient([&](const Tensor& at_x) { return add_residual(at_x, y) * y; },
                  at::randn({4, 6}, at::kDouble));
}

TEST(Activation, NamesTheKeyOfAnUnknownWord) {
  try {
    act_from("swiglu", "config.json: hidden_act");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("config.json: hidden_act = \"swiglu\""), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace vlm::ops
