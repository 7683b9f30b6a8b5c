#include "ops/attention.h"

#include <gtest/gtest.h>

#include "kernels/cpu.h"
#include "ops/linear.h"

namespace vlm::ops {
namespace {

struct Sizes {
  int64_t batch, queries, keys, heads, groups, width, value_width;
};

// The definition in float64 and the kernel of every instruction set; outputs are about 1.
void expect_same(const Sizes& sizes, const AttentionArgs& args, float bound = 4e-6f) {
  at::manual_seed(7);
  Tensor q = at::randn({sizes.batch, sizes.queries, sizes.heads, sizes.width});
  Tensor k = at::randn({sizes.batch, sizes.keys, sizes.groups, sizes.width});
  Tensor v = at::randn({sizes.batch, sizes.keys, sizes.groups, sizes.value_width});
  AttentionArgs exact = args;
  if (args.bias.defined()) exact.bias = args.bias.to(at::kDouble);
  Tensor wanted = attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), exact);
  for (int64_t target : kernels::usable_targets()) {
    kernels::use_only_target(target);
    Tensor got = attention(q, k, v, args);
    ASSERT_EQ(got.sizes(), wanted.sizes());
    EXPECT_LT((got - wanted).abs().max().item<double>(), bound)
        << kernels::target_name(target) << ": " << sizes.queries << " queries, " << sizes.keys << " keys, "
        << sizes.heads << " heads on " << sizes.groups << ", widths " << sizes.width << ", "
        << sizes.value_width;
  }
  kernels::use_only_target(0);
}

AttentionArgs scaled(int64_t width) {
  AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(width));
  return args;
}

const std::vector<Sizes> kSizes = {
    {1, 1, 1, 1, 1, 8, 8},       {2, 5, 7, 4, 2, 16, 16},   {1, 1, 65, 8, 2, 64, 64},
    {1, 1, 700, 8, 1, 64, 64},   {3, 64, 64, 2, 2, 72, 72}, {1, 77, 130, 6, 3, 20, 33},
    {1, 100, 100, 3, 1, 80, 80}, {2, 13, 200, 1, 1, 5, 3},  {1, 49, 64, 12, 12, 32, 16},
};

TEST(Attention, KernelIsTheDefinition) {
  for (const Sizes& sizes : kSizes) expect_same(sizes, scaled(sizes.width));
}

TEST(Attention, KernelIsTheDefinitionWhenCausal) {
  for (const Sizes& sizes : kSizes) {
    AttentionArgs args = scaled(sizes.width);
    args.is_causal = true;
    if (sizes.queries > sizes.keys) continue;
    expect_same(sizes, args);
    args.window = 9;
    expect_same(sizes, args);
    args.prefix = 4;
    expect_same(sizes, args);
    args.window = 0;
    args.prefix = 70;
    expect_same(sizes, args);
  }
}

TEST(Attention, KernelIsTheDefinitionWithBiases) {
  for (const Sizes& sizes : kSizes) {
    at::manual_seed(8);
    AttentionArgs args = scaled(sizes.width);
    args.softcap = 2.5;
    expect_same(sizes, args);
    args.softcap = 0;
    args.alibi_slopes = at::rand({sizes.heads});
    expect_same(sizes, args, 1e-5f);  // scores of about 100, whose last place is 8e-6
    args.alibi_slopes = Tensor();
    args.bias = at::randn({1, sizes.heads, sizes.queries, sizes.keys});
    expect_same(sizes, args);
    args.bias = at::randn({sizes.batch, 1, sizes.queries, sizes.keys});
    expect_same(sizes, args);
    args.bias = Tensor();
    args.key_mask = at::rand({sizes.batch, sizes.keys}) > 0.3;
    args.key_mask.select(1, 0).fill_(true);
    expect_same(sizes, args);
  }
}

TEST(Attention, TakesViewsOfAFusedProjectionAndOfACache) {
  at::manual_seed(9);
  Tensor qkv = at::randn({2, 70, 3, 4, 32}), cache = at::randn({2, 200, 4, 32});
  auto compute = [&](bool enabled) {
    set_kernels_enabled(enabled);
    Tensor one = attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), scaled(32));
    Tensor two = attention(qkv.select(2, 0), cache.narrow(1, 0, 90), cache.narrow(1, 50, 90), scaled(32));
    return at::cat({one, two});
  };
  Tensor wanted = compute(false), got = compute(true);
  EXPECT_LT((got - wanted).abs().max().item<float>(), 5e-6);
}

// Decoding, and a few queries at once, over what a cache keeps in fewer bits.
TEST(Attention, KernelIsTheDefinitionOverKeptRows) {
  at::manual_seed(11);
  for (KvPrecision precision : {KvPrecision::f32, KvPrecision::f16, KvPrecision::int8})
    for (int64_t queries : {1, 4, 40})
      for (int64_t width : {16, 33, 72}) {
        KvStore k = make_kv_store(precision, 2, 90, width), v = make_kv_store(precision, 2, 90, 20);
        store_kv(at::randn({80, 2, width}), 0, k);
        store_kv(at::randn({80, 2, 20}), 0, v);
        store_kv(at::randn({70, 2, width}).slice(0, 60), 80, k);
        store_kv(at::randn({70, 2, 20}).slice(0, 60), 80, v);
        auto view = [](const Tensor& tensor) {
          return tensor.defined() ? tensor.transpose(0, 1).unsqueeze(0) : tensor;
        };
        KeyValues kv{view(k.rows_GCE), view(v.rows_GCE), view(k.scales_GCN), view(v.scales_GCN), 20};
        Tensor q = at::randn({1, queries, 6, width});
        AttentionArgs args = scaled(width);
        args.is_causal = true;
        set_kernels_enabled(false);
        Tensor wanted = attention(q, kv, args);
        set_kernels_enabled(true);
        for (int64_t target : kernels::usable_targets()) {
          kernels::use_only_target(target);
          EXPECT_LT((attention(q, kv, args) - wanted).abs().max().item<double>(), 4e-6)
              << kernels::target_name(target) << ": " << kv_precision_name(precision) << ", " << queries
              << " queries, width " << width;
        }
        kernels::use_only_target(0);
      }
}

// Tiles of a cache, and sequences of several lengths in one call: beside the definition, which rounds
// nothing.
TEST(Attention, SequencesInTilesGetWhatEachGetsAlone) {
  at::manual_seed(12);
  constexpr int64_t kHeads = 6, kWidth = 40, kValueWidth = 20;
  for (bool may_round : {false, true}) {
    std::vector<Sequence> sequences;
    std::vector<Tensor> queries;
    for (int64_t keys : {70, 1, 131}) {
      KvStore k = make_kv_store(KvPrecision::f16, 1, keys, kWidth, KvTiles::keys);
      KvStore v = make_kv_store(KvPrecision::f16, 1, keys, kValueWidth, KvTiles::values);
      for (auto [begin, count] : {std::pair{int64_t{0}, keys / 2}, {keys / 2, keys - keys / 2}}) {
        store_kv(at::randn({count, 1, kWidth}), begin, k);
        store_kv(at::randn({count, 1, kValueWidth}), begin, v);
      }
      KeyValues kv;
      kv.value_width = kValueWidth, kv.k_tiles = k.tiles, kv.v_tiles = v.tiles, kv.keys = keys;
      queries.push_back(at::randn({keys == 70 ? 3 : 1, kHeads, kWidth}));
      sequences.push_back({queries.back().size(0), kv, 0});
    }
    AttentionArgs args = scaled(kWidth);
    args.is_causal = true, args.may_round = may_round;
    set_kernels_enabled(false);
    Tensor wanted = attention(at::cat(queries), sequences, args);
    set_kernels_enabled(true);
    for (int64_t target : kernels::usable_targets()) {
      kernels::use_only_target(target);
      Tensor got = attention(at::cat(queries), sequences, args);
      EXPECT_LT((got - wanted).abs().max().item<double>(), may_round ? 0.02 : 4e-6)
          << kernels::target_name(target);
      std::vector<Tensor> alone;
      for (size_t idx = 0; idx < queries.size(); ++idx)
        alone.push_back(attention(queries[idx].unsqueeze(0), sequences[idx].kv, args)[0]);
      EXPECT_TRUE(at::equal(got, at::cat(alone))) << kernels::target_name(target);
    }
    kernels::use_only_target(0);
  }
}

TEST(Attention, ScoresOfAThousandDoNotOverflow) {
  Tensor q = at::full({1, 3, 1, 16}, 30.0), k = at::full({1, 5, 1, 16}, 30.0), v = at::ones({1, 5, 1, 16});
  EXPECT_LT((attention(q, k, v, {}) - 1).abs().max().item<float>(), 1e-6);
}

TEST(Attention, GradientsFlowThroughTheDefinition) {
  at::manual_seed(10);
  Tensor q = at::randn({1, 4, 2, 8}, at::kDouble), k = at::randn({1, 6, 1, 8}, at::kDouble);
  Tensor v = at::randn({1, 6, 1, 8}, at::kDouble), weight = at::randn({1, 4, 2, 8}, at::kDouble);
  AttentionArgs args = scaled(8);
  args.is_causal = true;
  auto loss = [&](const Tensor& at_q) { return (attention(at_q, k, v, args) * weight).sum(); };
  Tensor variable = q.clone().requires_grad_(true);
  loss(variable).backward();
  Tensor direction = at::randn_like(q);
  double step = 1e-6;
  double numeric = (loss(q + direction * step) - loss(q - direction * step)).item<double>() / (2 * step);
  EXPECT_NEAR((variable.grad() * direction).sum().item<double>(), numeric, 1e-7);
}

}  // namespace
}  // namespace vlm::ops
