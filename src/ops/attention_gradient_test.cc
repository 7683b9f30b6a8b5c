#include "ops/attention_gradient.h"

#include <gtest/gtest.h>

#include "ops/linear.h"

namespace vlm::ops {
namespace {

struct Plain {
  Plain() { set_kernels_enabled(false); }
  ~Plain() { set_kernels_enabled(true); }
};

struct Shape4 {
  int64_t batch, queries, keys, heads, groups, width, value_width;
};

// attention() leaves few scores to the definition.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& args) {
  return has_fused_gradient(q, k, v, args) ? attention_with_gradient(q, k, v, args)
                                           : attention(q, k, v, args);
}

using Gradients = std::array<Tensor, 4>;  // y, dq, dk, dv

Gradients gradients(const Shape4& shape, const AttentionArgs& args) {
  at::manual_seed(1);
  auto leaf = [](at::IntArrayRef sizes) { return at::randn(sizes).requires_grad_(true); };
  Tensor q = leaf({shape.batch, shape.queries, shape.heads, shape.width});
  Tensor k = leaf({shape.batch, shape.keys, shape.groups, shape.width});
  // As a fused projection leaves them: rows with gaps between.
  Tensor wide = leaf({shape.batch, shape.keys, 2, shape.groups, shape.value_width});
  Tensor v = wide.select(2, 1);
  Tensor y = attend(q, k, v, args);
  (y * at::randn(y.sizes())).sum().backward();
  return {y.detach(), q.grad(), k.grad(), wide.grad().select(2, 1)};
}

double relative_error(const Tensor& got, const Tensor& wanted) {
  return ((got - wanted).norm() / wanted.norm()).item<double>();
}

void compare(const Shape4& shape, AttentionArgs args) {
  args.scale = 0.4;
  Gradients wanted;
  {
    Plain plain;
    wanted = gradients(shape, args);
  }
  for (bool may_round : {false, true}) {
    args.may_round = may_round;
    Gradients found = gradients(shape, args);
    for (size_t at = 0; at < found.size(); ++at)
      EXPECT_LT(relative_error(found[at], wanted[at]), may_round ? 0.01 : 1e-5) << at;
  }
}

TEST(AttentionGradient, IsThatOfTheDefinition) {
  compare({2, 5, 5, 2, 2, 8, 8}, {});
  compare({1, 37, 50, 4, 2, 24, 16}, {});
  compare({2, 300, 300, 2, 1, 16, 16}, {});  // more queries than at once
  compare({1, 1, 9, 3, 3, 5, 7}, {});
}

TEST(AttentionGradient, SeesWhatIsCausal) {
  AttentionArgs args;
  args.is_causal = true;
  compare({2, 300, 300, 4, 2, 16, 16}, args);
  compare({1, 40, 61, 2, 2, 16, 16}, args);
  args.prefix = 20;
  compare({1, 300, 300, 2, 2, 16, 16}, args);
  args.window = 33;
  compare({1, 300, 300, 2, 2, 16, 16}, args);
  args.prefix = 0;
  compare({1, 300, 300, 2, 2, 16, 16}, args);
}

TEST(AttentionGradient, LeavesHiddenKeysOut) {
  AttentionArgs args;
  args.key_mask = at::ones({2, 70}, at::kBool);
  args.key_mask[0].narrow(0, 50, 20).fill_(false);
  args.key_mask[1].narrow(0, 0, 3).fill_(false);
  compare({2, 70, 70, 2, 2, 16, 16}, args);
  Gradients found = gradients({2, 70, 70, 2, 2, 16, 16}, args);
  EXPECT_EQ(found[2][0].narrow(0, 50, 20).abs().max().item<float>(), 0);
}

TEST(AttentionGradient, IsTheSlopeInDoublePrecision) {
  at::manual_seed(2);
  AttentionArgs args;
  args.is_causal = true, args.scale = 0.5;
  Tensor k = at::randn({1, 6, 1, 8}), v = at::randn({1, 6, 1, 8}), outer = at::randn({1, 6, 2, 8});
  Tensor q = at::randn({1, 6, 2, 8}), along = at::randn({1, 6, 2, 8});
  Tensor leaf = q.clone().requires_grad_(true);
  (attend(leaf, k, v, args) * outer).sum().backward();
  auto loss = [&](double step) {
    Tensor y = attention(q.to(at::kDouble) + along * step, k.to(at::kDouble), v.to(at::kDouble), args);
    return (y * outer).sum().item<double>();
  };
  double slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
  EXPECT_NEAR((leaf.grad() * along).sum().item<double>(), slope, 1e-5 * std::max(1.0, std::fabs(slope)));
}

// What has no fused gradient goes through the definition as before.
TEST(AttentionGradient, IsLeftToTheDefinitionWhereItMust) {
  AttentionArgs capped;
  capped.softcap = 5;
  compare({1, 20, 20, 2, 2, 8, 8}, capped);
  AttentionArgs biased;
  biased.bias = at::randn({1, 2, 20, 20}).requires_grad_(true);
  compare({1, 20, 20, 2, 2, 8, 8}, biased);
  EXPECT_TRUE(biased.bias.grad().defined());
}

}  // namespace
}  // namespace vlm::ops
