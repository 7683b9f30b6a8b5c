#include "kernels/attention_testing.h"

#include <memory>

#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

constexpr int64_t kBatch = 2;
constexpr KvType kAllTypes[] = {KvType::f32, KvType::f16, KvType::int8, KvType::bf16};

void round_to_bfloat16(Floats& values) {
  for (int64_t at = 0; at < values.size(); ++at) values[at] = bf16_to_float(float_to_bf16(values[at]));
}

// What is kept is as close to what was given as its type allows.
Kept random_rows(KvType type, int64_t batch, int64_t keys, int64_t groups, int64_t width, unsigned seed,
                 bool is_rounded = false, int64_t tile = kKeyTile) {
  Floats from = Floats::random(batch * keys * groups * width, seed, 1);
  if (is_rounded) round_to_bfloat16(from);
  Kept kept(type, batch, keys, groups, width, from.data(), {.shift = 1}, tile);
  for (int64_t at = 0; at < from.size(); ++at) {
    const auto [value, step] = kept.stored(type, at);
    EXPECT_NEAR(value, from[at],
                type == KvType::f32    ? 0.0
                : type == KvType::f16  ? std::fabs(from[at]) / 2048 + 1e-7
                : type == KvType::bf16 ? std::fabs(from[at]) / 256 + 1e-7
                                       : 0.5001 * step);
  }
  return kept;
}

struct Sizes {
  int64_t queries, keys, heads, groups, width, value_width;
};
struct Masks {
  bool is_causal = false;
  int64_t window = 0, prefix = 0;
  bool has_biases = false;  // softcap, slopes, a bias and a mask of keys
};

// Rounded: queries, keys and values are bfloat16 numbers already of at most 4,
// and only the weights are rounded.
void check(const Sizes& sizes, const Masks& masks, KvType type = KvType::f32, bool is_rounded = false) {
  const auto& [queries, keys, heads, groups, width, value_width] = sizes;
  constexpr int64_t kShift = 1;
  Floats q = Floats::random(kBatch * queries * heads * width, 1, kShift);
  if (is_rounded) round_to_bfloat16(q);
  const Kept k = random_rows(type, kBatch, keys, groups, width, 2, is_rounded);
  const Kept v = random_rows(type, kBatch, keys, groups, value_width, 3, is_rounded, kValueTile);
  Floats y(kBatch * queries * heads * value_width, kShift), slopes(heads);
  Floats bias = Floats::random(kBatch * heads * queries * keys, 4, kShift);
  auto mask = std::make_unique<bool[]>(static_cast<size_t>(kBatch * keys));
  for (int64_t idx = 0; idx < kBatch * keys; ++idx) mask[static_cast<size_t>(idx)] = idx * 7 % 5 != 0;
  for (int64_t head = 0; head < heads; ++head) slopes[head] = 0.01f * static_cast<float>(head + 1);
  Attention args{};
  args.q = q.data(), args.y = y.data(), args.kv_type = type, args.k = k.rows, args.v = v.rows;
  args.q_strides[0] = queries * heads * width, args.q_strides[1] = heads * width, args.q_strides[2] = width;
  args.batch = kBatch, args.queries = queries, args.keys = keys, args.heads = heads, args.groups = groups;
  args.width = width, args.value_width = value_width;
  args.scale = is_rounded ? 0.25f : 1.0f / std::sqrt(static_cast<float>(width));
  args.may_round = is_rounded;
  args.is_causal = masks.is_causal, args.window = masks.window, args.prefix = masks.prefix;
  if (masks.has_biases) {
    args.softcap = 2.5f, args.alibi_slopes = slopes.data(), args.key_mask = mask.get(),
    args.bias = bias.data();
    args.bias_strides[0] = heads * queries * keys, args.bias_strides[1] = queries * keys;
    args.bias_strides[2] = keys;
  }
  attention(args);
  for (int64_t batch = 0; batch < kBatch; ++batch)
    for (int64_t query = 0; query < queries; ++query)
      for (int64_t head = 0; head < heads; ++head) {
        std::vector<double> wanted = exact(args, k, v, batch, query, head);
        for (int64_t idx = 0; idx < value_width; ++idx)
          ASSERT_NEAR(y[((batch * queries + query) * heads + head) * value_width + idx],
                      wanted[static_cast<size_t>(idx)], is_rounded ? 0x1p-7 : 4e-6)
              << queries << " queries " << keys << " keys " << heads << " heads on " << groups << " widths "
              << width << " " << value_width << ": query " << query << " head " << head << " feature " << idx;
      }
}

TEST(AttentionKernel, IsSoftmaxAttention) {
  on_every_target([] {
    for (int64_t queries : {1, 2, 3, 5, 7, 13, 49})
      for (int64_t width : {1, 17, 32})
        for (int64_t keys : {queries, queries + 63, queries + 130}) {
          check({queries, keys, 4, 2, width, width}, {});
          check({queries, keys, 3, 1, width, 20}, {.is_causal = true});
        }
  });
}

// The head sizes of published models, on both ways: few rows and many.
TEST(AttentionKernel, TakesEveryHeadSize) {
  on_every_target([] {
    for (int64_t width : {64, 72, 80, 88, 96, 112, 128, 256})
      for (KvType type : kAllTypes) {
        check({1, 100, 6, 1, width, width}, {.is_causal = true}, type);
        check({21, 100, 2, 1, width, width}, {.is_causal = true}, type);
      }
  });
}

TEST(AttentionKernel, ReadsCachesOfEveryPrecision) {
  on_every_target([] {
    for (KvType type : kAllTypes)
      for (int64_t heads : {1, 2, 3, 5, 8, 9, 14})
        for (int64_t queries : {1, 2, 9})
          for (int64_t width : {5, 24})
            check({queries, queries + 70, heads, 1, width, 33}, {.is_causal = true}, type);
  });
}

TEST(AttentionKernel, MayRoundToBfloat16) {
  on_every_target([] {
    for (KvType type : {KvType::f32, KvType::f16, KvType::bf16})
      for (int64_t heads : {5, 8, 14})
        for (int64_t queries : {1, 3})
          for (int64_t width : {16, 20, 64, 80, 128})
            for (int64_t keys : {queries, queries + 14, queries + 70, queries + 1040})
              check({queries, keys, heads, 1, width, width}, {.is_causal = true}, type, true);
    for (KvType type : {KvType::f32, KvType::f16, KvType::bf16})
      for (int64_t queries : {9, 49})
        for (int64_t width : {1, 5, 64, 72, 90}) {
          for (int64_t keys : {queries, queries + 63, queries + 130})
            check({queries, keys, 4, 2, width, width}, {}, type, true);
          check({queries, queries + 70, 3, 1, width, 20}, {.is_causal = true, .window = 60}, type, true);
          check({queries, queries + 77, 2, 1, width, 24}, {.is_causal = true, .has_biases = true}, type,
                true);
        }
  });
}

TEST(AttentionKernel, HidesWhatWindowAndPrefixHide) {
  on_every_target([] {
    for (int64_t queries : {1, 3, 60})
      for (int64_t window : {1, 5, 90})
        for (int64_t prefix : {0, 3, 70})
          check({queries, queries + 100, 2, 1, 16, 16},
                {.is_causal = true, .window = window, .prefix = prefix});
  });
}

TEST(AttentionKernel, AddsBiases) {
  on_every_target([] {
    for (bool is_causal : {false, true})
      for (int64_t queries : {1, 3, 60})
        for (int64_t keys : {queries, queries + 77})
          for (int64_t heads : {2, 6})
            check({queries, keys, heads, 2, 16, 24}, {.is_causal = is_causal, .has_biases = true});
  });
}

// Speculation runs several queries at once and must give what one after the other gives.
TEST(AttentionKernel, AQueryDoesNotDependOnThoseBesideIt) {
  on_every_target([] {
    constexpr int64_t kKeys = 1030, kQueries = 8, kWidth = 40;
    for (KvType type : kAllTypes)
      for (int64_t heads : {1, 3, 6, 8, 16})
        for (int64_t variant : {0, 1, 2, 3}) {
          const int64_t window = variant % 2 == 0 ? 0 : 600;
          const int64_t row = heads * kWidth;
          Floats q = Floats::random(kQueries * row, 5), together(kQueries * row), alone(row);
          const Kept k = random_rows(type, 1, kKeys, 1, kWidth, 6);
          const Kept v = random_rows(type, 1, kKeys, 1, kWidth, 7, false, kValueTile);
          Attention args{};
          args.q = q.data(), args.y = together.data(), args.kv_type = type, args.k = k.rows, args.v = v.rows;
          args.q_strides[0] = kQueries * row, args.q_strides[1] = row, args.q_strides[2] = kWidth;
          args.batch = 1, args.queries = kQueries, args.keys = kKeys, args.heads = heads, args.groups = 1;
          args.width = kWidth, args.value_width = kWidth;
          args.scale = 0.2f, args.is_causal = true, args.window = window;
          args.may_round = variant >= 2;
          attention(args);
          for (int64_t query = 0; query < kQueries; ++query) {
            args.q = q.data() + query * row, args.y = alone.data();
            args.queries = 1, args.keys = kKeys - kQueries + query + 1;
            attention(args);
            for (int64_t idx = 0; idx < row; ++idx)
              ASSERT_EQ(alone[idx], together[query * row + idx]) << heads << " heads, query " << query;
          }
        }
  });
}

// Sequences of several lengths are decoded together and must get what each gets alone.
TEST(AttentionKernel, ACallDoesNotDependOnThoseBesideIt) {
  on_every_target([] {
    constexpr int64_t kHeads = 12, kGroups = 2, kWidth = 64, kRow = kHeads * kWidth;
    for (KvType type : kAllTypes)
      for (bool may_round : {false, true}) {
        std::vector<Kept> rows;
        std::vector<Attention> calls;
        std::vector<Floats> q, alone;
        for (int64_t keys : {1, 2600, 65, 700}) {
          const int64_t queries = keys == 65 ? 3 : 1;
          rows.push_back(random_rows(type, 1, keys, kGroups, kWidth, 8));
          rows.push_back(random_rows(type, 1, keys, kGroups, kWidth, 9, false, kValueTile));
          q.push_back(Floats::random(queries * kRow, 10));
          alone.emplace_back(queries * kRow);
          Attention args{};
          args.kv_type = type, args.k = rows[rows.size() - 2].rows, args.v = rows.back().rows;
          args.q_strides[1] = kRow, args.q_strides[2] = kWidth;
          args.batch = 1, args.queries = queries, args.keys = keys, args.heads = kHeads,
          args.groups = kGroups;
          args.width = kWidth, args.value_width = kWidth;
          args.scale = 0.2f, args.is_causal = true, args.may_round = may_round;
          calls.push_back(args);
        }
        std::vector<Floats> together;
        for (size_t idx = 0; idx < calls.size(); ++idx) {
          calls[idx].q = q[idx].data(), calls[idx].y = alone[idx].data();
          attention(calls[idx]);
          together.emplace_back(alone[idx].size());
          calls[idx].y = together.back().data();
        }
        attentions_of_few_rows(calls.data(), static_cast<int64_t>(calls.size()));
        for (size_t idx = 0; idx < calls.size(); ++idx)
          for (int64_t at = 0; at < alone[idx].size(); ++at)
            ASSERT_EQ(alone[idx][at], together[idx][at]) << "call " << idx << ", number " << at;
      }
  });
}

// More threads than tasks: the keys of one head are shared out.
TEST(AttentionKernel, SharesLongContexts) {
  on_every_target([] {
    for (int64_t heads : {1, 5, 40}) check({1, 3000, heads, 1, 32, 32}, {.is_causal = true});
    check({1, 3000, 1, 1, 32, 32}, {.is_causal = true, .window = 100});
    check({30, 3000, 1, 1, 32, 32}, {.is_causal = true, .window = 100});
  });
}

// Several tasks of one group, each with several blocks of rows.
TEST(AttentionKernel, TakesManyRows) {
  on_every_target([] {
    check({300, 300, 4, 1, 20, 20}, {.is_causal = true});
    check({577, 577, 1, 1, 16, 16}, {});
  });
}

// More keys than lie packed at once, and than any block: rows keep their sums from one to the next.
TEST(AttentionKernel, TakesMoreKeysThanAreKeptPacked) {
  on_every_target([] {
    for (bool is_rounded : {false, true}) {
      check({40, 1700, 4, 2, 64, 72}, {}, KvType::f16, is_rounded);
      check({100, 1700, 4, 2, 64, 72}, {.is_causal = true, .window = 700, .prefix = 300}, KvType::f32,
            is_rounded);
    }
  });
}

// Queries before the first key, and windows that begin behind a prefix: whole blocks that nobody sees.
TEST(AttentionKernel, TakesRowsThatSeeNothing) {
  on_every_target([] {
    for (bool is_rounded : {false, true}) {
      check({90, 40, 2, 1, 16, 16}, {.is_causal = true}, KvType::f32, is_rounded);
      check({20, 900, 2, 1, 16, 16}, {.is_causal = true, .window = 10, .prefix = 3}, KvType::f32, is_rounded);
    }
  });
}

// Without products a bias alone decides, so that each weight can be told from what it does to two values.
TEST(AttentionKernel, WeightsAreOfEverySize) {
  constexpr int64_t kQueries = 40, kKeys = 2;
  on_every_target([] {
    for (bool may_round : {false, true}) {
      Floats q = Floats::random(kQueries, 1), y(kQueries), bias(kQueries * kKeys);
      const float ends[] = {0.0f, -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::lowest()};
      for (int64_t query = 0; query < kQueries; ++query)
        bias[query * kKeys + 1] = query < 3 ? ends[query] : -0.3f * static_cast<float>(query * query) / 10;
      const float keys[] = {1.0f, 2.0f}, values[] = {0.0f, 1.0f};
      const Kept k(KvType::f32, 1, kKeys, 1, 1, keys), v(KvType::f32, 1, kKeys, 1, 1, values);
      Attention args{};
      args.q = q.data(), args.y = y.data(), args.k = k.rows, args.v = v.rows;
      args.q_strides[0] = kQueries, args.q_strides[1] = args.q_strides[2] = 1;
      args.batch = args.heads = args.groups = args.width = args.value_width = 1;
      args.queries = kQueries, args.keys = kKeys;
      args.bias = bias.data(), args.bias_strides[2] = kKeys;
      args.may_round = may_round;
      attention_many_rows(args);
      for (int64_t query = 0; query < kQueries; ++query) {
        const double weight = std::exp(static_cast<double>(bias[query * kKeys + 1]));
        const double wanted = weight / (1 + weight);
        ASSERT_NEAR(y[query], wanted, (may_round ? 0x1p-8 + 1e-4 : 2e-6) * wanted) << bias[query * kKeys + 1];
      }
    }
  });
}

TEST(KvRows, StopAtTheLargestHalf) {
  on_every_target([] {
    const float values[3] = {1e6f, -1e6f, 1.0f};
    uint16_t halves[3];
    store_kv(KvType::f16, values, 3, 3, 1, 1, 3, {halves, {3, 3}, nullptr, {0, 0}, 0, 0});
    EXPECT_EQ(half_to_float(halves[0]), 65504.0f);
    EXPECT_EQ(half_to_float(halves[1]), -65504.0f);
    EXPECT_EQ(half_to_float(halves[2]), 1.0f);
  });
}

TEST(KvRows, TilesHoldZerosBehindARow) {
  on_every_target([] {
    const float values[3] = {1.00390625f, -1e6f,
                             NAN};  // the first lies between two numbers, nearer to neither
    std::vector<uint16_t> tile(kKeyTile * kKvGroup, 0xffff);
    store_kv(KvType::bf16, values, 3, 3, 1, 1, 3, {tile.data(), {0, 0}, nullptr, {0, 0}, kKeyTile, 5});
    EXPECT_EQ(bf16_to_float(tile[5 * kKvGroup]), 1.0f);
    EXPECT_EQ(bf16_to_float(tile[5 * kKvGroup + 1]), bf16_to_float(float_to_bf16(-1e6f)));
    EXPECT_TRUE(std::isnan(bf16_to_float(tile[5 * kKvGroup + 2])));
    for (int64_t idx = 3; idx < kKvGroup; ++idx) EXPECT_EQ(tile[5 * kKvGroup + idx], 0);
    EXPECT_EQ(tile[5 * kKvGroup - 1], 0xffff);
    EXPECT_EQ(tile[6 * kKvGroup], 0xffff);
  });
}

TEST(KvRows, OfZerosAreZeros) {
  on_every_target([] {
    const float zeros[40] = {};
    int8_t bytes[64];
    float scales[2] = {1, 1};
    store_kv(KvType::int8, zeros, 40, 40, 1, 1, 40, {bytes, {64, 64}, scales, {2, 2}, 0, 0});
    for (int8_t byte : bytes) EXPECT_EQ(byte, 0);
    EXPECT_EQ(scales[1], 0.0f);
  });
}

// 127 / largest would overflow, and zeros would become something else.
TEST(KvRows, OfTheLeastNumbersAreZeros) {
  on_every_target([] {
    const float values[3] = {1e-38f, 0.0f, -1e-38f};
    int8_t bytes[32];
    float scale;
    store_kv(KvType::int8, values, 3, 3, 1, 1, 3, {bytes, {32, 32}, &scale, {1, 1}, 0, 0});
    for (int8_t byte : bytes) EXPECT_EQ(byte, 0);
  });
}

}  // namespace
}  // namespace vlm::kernels
