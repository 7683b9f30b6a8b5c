#include "engine/bench.h"

#include <gtest/gtest.h>

#include "engine/synthetic.h"

namespace vlm {
namespace {

const BenchRow& row_of(const std::vector<BenchRow>& rows, const std::string& stage, int64_t batch) {
  for (const BenchRow& row : rows)
    if (row.stage == stage && row.batch == batch) return row;
  throw std::runtime_error("no row " + stage);
}

LoadedModel synthetic_model(const std::string& shapes, int64_t layers, Precision precision) {
  WeightsOptions weights;
  weights.precision = precision;
  return bind_model(synthetic_checkpoint(shapes, layers).checkpoint, weights);
}

BenchOptions quick() {
  BenchOptions options;
  options.batches = {1, 2};
  options.prompt_tokens = {10};
  options.contexts = {20};
  options.new_tokens = 2, options.repeat = 1;
  options.picture_height = 48, options.picture_width = 64;
  return options;
}

TEST(Bench, CountsWhatTheMatricesTake) {
  constexpr double kWidth = 2048, kInner = 5632, kKeys = 256, kVocabulary = 32000;
  constexpr double kLayer = 2 * kWidth * kWidth + 2 * kWidth * kKeys + 3 * kWidth * kInner;
  LoadedModel loaded = synthetic_model("tinyllama-1.1b", 1, Precision::bf16);
  BenchOptions options = quick();
  options.stages = {"prefill", "decode"};
  std::vector<BenchRow> rows = bench_model(loaded, options);
  ASSERT_EQ(rows.size(), 3u);

  // The head is asked for the last position alone.
  const BenchRow& prefill = row_of(rows, "prefill", 1);
  constexpr double kPairs = 55;  // 1 + 2 + ... + 10
  EXPECT_EQ(prefill.work.half_operations, 2 * 10 * kLayer + 2 * kWidth * kVocabulary + 4 * kWidth * kPairs);
  EXPECT_EQ(prefill.work.float_operations, 0);
  EXPECT_GT(prefill.median(), 0);
  EXPECT_GT(prefill.profile.at("products").seconds, 0);

  // Weights once, keys and values of every sequence; the second step of the row is the one that counts.
  double weights = 2 * (kLayer + kWidth * kVocabulary);
  const BenchRow &one = row_of(rows, "decode", 1), &two = row_of(rows, "decode", 2);
  double cache = one.work.bytes - weights;
  EXPECT_GT(cache, 0);
  EXPECT_LE(cache, 2 * 4 * kKeys * 22);
  EXPECT_EQ(two.work.bytes - weights, 2 * cache);
  EXPECT_EQ(two.count, 2);
}

TEST(Bench, MeasuresTowersByPictures) {
  BenchOptions options = quick();
  options.stages = {"encode"};
  options.batches = {1};
  std::vector<BenchRow> rows =
      bench_model(synthetic_model("siglip/siglip-base-patch16-224", 0, Precision::int8), options);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows.front().unit, "pictures");
  EXPECT_GT(rows.front().work.byte_operations, 2.0 * 196 * 12 * 768 * 768 * 12);
}

TEST(Bench, WhatDoesNotFitIsLeftOut) {
  BenchOptions options = quick();
  options.stages = {"decode"};
  options.contexts = {5000};
  for (const BenchRow& row : bench_model(synthetic_model("tinyllama-1.1b", 1, Precision::int4), options)) {
    EXPECT_TRUE(row.seconds.empty());
    EXPECT_NE(row.skipped.find("4096"), std::string::npos);
  }
}

TEST(Synthetic, SystemsCheckpointsAndLanguageModels) {
  EXPECT_EQ(synthetic_checkpoint("llava-1.5").checkpoint.name, "llava-hf/llava-1.5-7b-hf");
  SyntheticCheckpoint cut = synthetic_checkpoint("qwen2-vl/Qwen2-VL-2B-Instruct", 3);
  EXPECT_EQ(cut.all_layers, 28);
  EXPECT_TRUE(cut.source->has("model.layers.2.mlp.gate_proj.weight"));
  EXPECT_FALSE(cut.source->has("model.layers.3.mlp.gate_proj.weight"));
  EXPECT_TRUE(cut.source->has("visual.blocks.31.mlp.fc1.weight"));
  EXPECT_EQ(synthetic_checkpoint("llama-7b").all_layers, 32);
  try {
    synthetic_checkpoint("llava-1.55");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(error.hint().find("llava-1.5"), std::string::npos);
  }
}

}  // namespace
}  // namespace vlm
