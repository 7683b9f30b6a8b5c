#include "nn/kv_cache.h"

#include <gtest/gtest.h>

namespace vlm::nn {
namespace {

constexpr int64_t kLayers = 2, kGroups = 3, kWidth = 40, kValueWidth = 33;

struct Rows {
  Tensor k, v;
};
Rows random_rows(int64_t count) {
  return {at::randn({count, kGroups, kWidth}), at::randn({count, kGroups, kValueWidth})};
}

// What a cache keeps of a layer, in float32.
Rows kept_rows(const ops::KeyValues& kv) {
  auto rows_of_tiles = [&](const Tensor& tiles, int64_t width) {  // [G, tiles, lines, tokens, 32]
    return tiles.transpose(2, 3)
        .flatten(3)
        .flatten(1, 2)
        .narrow(1, 0, kv.keys)
        .narrow(2, 0, width)
        .transpose(0, 1)
        .to(at::kFloat);
  };
  if (kv.k_tiles.defined())
    return {rows_of_tiles(kv.k_tiles, kWidth), rows_of_tiles(kv.v_tiles, kValueWidth)};
  auto floats = [](const Tensor& rows, const Tensor& scales, int64_t width) {
    if (!scales.defined()) return rows[0].to(at::kFloat);
    return (rows[0].to(at::kFloat) * scales[0].repeat_interleave(32, 2)).narrow(2, 0, width);
  };
  return {floats(kv.k_BSGE, kv.k_scales_BSGN, kWidth), floats(kv.v_BSGE, kv.v_scales_BSGN, kValueWidth)};
}

struct Kind {
  ops::KvPrecision precision;
  bool in_tiles = false;
};

// Half a step of what the precision can hold.
double bound_of(Kind kind, const Tensor& wanted) {
  double largest = wanted.abs().max().item<double>();
  if (kind.in_tiles) return largest / 256;
  switch (kind.precision) {
    case ops::KvPrecision::f32:
      return 0;
    case ops::KvPrecision::f16:
      return largest / 2048;
    case ops::KvPrecision::int8:
      return 0.501 * largest / 127;
  }
  return 0;
}

void expect_kept(const ops::KeyValues& kv, const std::vector<Rows>& given, Kind kind) {
  std::vector<Tensor> k, v;
  for (const Rows& rows : given) k.push_back(rows.k), v.push_back(rows.v);
  Rows kept = kept_rows(kv), wanted{at::cat(k), at::cat(v)};
  ASSERT_EQ(kept.k.sizes(), wanted.k.sizes());
  ASSERT_EQ(kept.v.sizes(), wanted.v.sizes());
  EXPECT_LE((kept.k - wanted.k).abs().max().item<double>(), bound_of(kind, wanted.k));
  EXPECT_LE((kept.v - wanted.v).abs().max().item<double>(), bound_of(kind, wanted.v));
}

class KvCacheOf : public testing::TestWithParam<Kind> {
 protected:
  ops::KeyValues append(KvCache& cache, int64_t layer, const Rows& rows) {
    return cache.append(layer, rows.k, rows.v, GetParam().in_tiles);
  }
};

TEST_P(KvCacheOf, KeepsWhatItGets) {
  at::manual_seed(1);
  KvCache cache;
  cache.set_precision(GetParam().precision);
  std::vector<std::vector<Rows>> given(kLayers);
  for (int64_t count : {5, 1, 300, 1}) {  // beyond the first room
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      auto& rows = given[static_cast<size_t>(layer)];
      rows.push_back(random_rows(count));
      expect_kept(append(cache, layer, rows.back()), rows, GetParam());
    }
    cache.advance(count);
  }
  EXPECT_EQ(cache.length(), 307);
}

TEST_P(KvCacheOf, CopiesAreApartAndTruncatedRowsForgotten) {
  at::manual_seed(2);
  KvCache cache;
  cache.set_precision(GetParam().precision);
  Rows first = random_rows(10), second = random_rows(1), third = random_rows(2);
  append(cache, 0, first);
  cache.advance(10);
  KvCache copy = cache.clone();
  EXPECT_EQ(copy.bytes(), cache.bytes());
  expect_kept(append(copy, 0, second), {first, second}, GetParam());
  expect_kept(append(cache, 0, third), {first, third}, GetParam());
  cache.advance(2);
  cache.truncate(10);
  expect_kept(append(cache, 0, second), {first, second}, GetParam());
}

TEST_P(KvCacheOf, RoomThatWasReservedDoesNotMove) {
  KvCache cache;
  cache.set_precision(GetParam().precision);
  cache.reserve(1000);
  const void* place = nullptr;
  for (int64_t count : {600, 399, 1}) {
    Rows rows = random_rows(count);
    ops::KeyValues kv = append(cache, 0, rows);
    const Tensor& kept = GetParam().in_tiles ? kv.k_tiles : kv.k_BSGE;
    if (place) {
      EXPECT_EQ(kept.data_ptr(), place);
    }
    place = kept.data_ptr();
    cache.advance(count);
  }
}

TEST_P(KvCacheOf, AHeadsRowsLieBehindEachOther) {
  KvCache cache;
  cache.set_precision(GetParam().precision);
  Rows rows = random_rows(20);
  ops::KeyValues kv = append(cache, 0, rows);
  if (GetParam().in_tiles) return;
  EXPECT_EQ(kv.k_BSGE.stride(1), kv.k_BSGE.size(3));
  EXPECT_EQ(kv.v_BSGE.stride(1), kv.v_BSGE.size(3));
}

TEST_P(KvCacheOf, StretchesByRepeating) {
  KvCache cache;
  cache.set_precision(GetParam().precision);
  Rows rows = random_rows(7), last = random_rows(1);
  append(cache, 0, rows);
  cache.advance(7);
  cache.stretch(17);
  EXPECT_EQ(cache.length(), 17);
  Rows part{rows.k.narrow(0, 0, 3), rows.v.narrow(0, 0, 3)};
  expect_kept(append(cache, 0, last), {rows, rows, part, last}, GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, KvCacheOf,
                         testing::Values(Kind{ops::KvPrecision::f32}, Kind{ops::KvPrecision::f16},
                                         Kind{ops::KvPrecision::f16, true}, Kind{ops::KvPrecision::int8}),
                         [](const auto& info) {
                           return std::string(ops::kv_precision_name(info.param.precision)) +
                                  (info.param.in_tiles ? "_in_tiles" : "");
                         });

// A layer keeps what its first rows chose, however many heads ask for more.
TEST(KvCache, CountsTheBytesOfTiles) {
  KvCache cache;
  cache.set_precision(ops::KvPrecision::f16);
  Rows rows = random_rows(4);
  cache.append(0, rows.k, rows.v, true);
  cache.advance(4);
  EXPECT_EQ(cache.bytes(), 4 * kGroups * (64 + 64) * 2);
  EXPECT_FALSE(cache.append(0, rows.k, rows.v, false).k_BSGE.defined());
}

TEST(KvCache, AnotherPrecisionForgetsEverything) {
  KvCache cache;
  Rows rows = random_rows(4);
  cache.append(0, rows.k, rows.v);
  cache.advance(4);
  int64_t bytes = cache.bytes();
  EXPECT_EQ(bytes, 4 * kGroups * (kWidth + kValueWidth) * 4);
  cache.set_precision(ops::KvPrecision::f32);
  EXPECT_EQ(cache.length(), 4);
  cache.set_precision(ops::KvPrecision::f16);
  EXPECT_EQ(cache.length(), 0);
  cache.append(0, rows.k, rows.v);
  cache.advance(4);
  EXPECT_EQ(cache.bytes() * 2, bytes);
}

}  // namespace
}  // namespace vlm::nn
