#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace vlm {
namespace {

using nlohmann::json;

SamplingOptions options_of(const json& given) {
  SamplingOptions options;
  options.do_sample = true;
  options.repetition_penalty = given.value("repetition_penalty", 1.0);
  options.no_repeat_ngram_size = given.value("no_repeat_ngram_size", 0);
  options.suppress_tokens = given.value("suppress_tokens", std::vector<int64_t>{});
  options.begin_suppress_tokens = given.value("begin_suppress_tokens", std::vector<int64_t>{});
  options.min_new_tokens = given.value("min_new_tokens", 0);
  options.eos_ids = given.value("eos_ids", std::vector<int64_t>{});
  options.temperature = given.value("temperature", 1.0);
  options.top_k = given.value("top_k", 0);
  options.top_p = given.value("top_p", 1.0);
  options.min_p = given.value("min_p", 0.0);
  return options;
}

TEST(Sampler, RulesAgreeWithTransformers) {
  json document =
      json::parse(read_text(std::filesystem::path(VLM_SOURCE_DIR) / "tests/cases/sampling/rules.json"));
  ASSERT_GT(document["cases"].size(), 60u);
  for (const json& entry : document["cases"]) {
    SCOPED_TRACE(entry["options"].dump() + entry["prompt"].dump() + entry["generated"].dump());
    SamplingOptions options = options_of(entry["options"]);
    auto scores = entry["scores"].get<std::vector<float>>();
    apply_rules(options, scores, entry["prompt"].get<std::vector<int64_t>>(),
                entry["generated"].get<std::vector<int64_t>>());
    apply_warpers(options, scores);
    for (size_t id = 0; id < scores.size(); ++id) {
      const json& wanted = entry["expected"][id];
      if (wanted.is_null())
        EXPECT_EQ(scores[id], -std::numeric_limits<float>::infinity()) << id;
      else
        EXPECT_NEAR(scores[id], wanted.get<float>(), 1e-5 * (1 + std::fabs(wanted.get<float>()))) << id;
    }
  }
}

TEST(Sampler, PenaltiesBiasAndForcedTokens) {
  SamplingOptions options;
  options.presence_penalty = 0.5;
  options.frequency_penalty = 0.25;
  options.logit_bias = {{0, -1}, {99, 5}};
  std::vector<float> scores = {1, 1, 1, 1};
  std::vector<int64_t> prompt = {3, 3,
                                 70000};  // the prompt does not count, and may hold ids beyond the vocabulary
  std::vector<int64_t> generated = {1, 2, 2};
  apply_rules(options, scores, prompt, generated);
  EXPECT_EQ(scores, (std::vector<float>{0, 0.25, 0, 1}));

  options = {};
  options.forced_first_token = 2;
  options.forced_last_token = 1;
  options.max_new_tokens = 4;
  Sampler sampler(options);
  std::vector<float> logits = {5, 1, 2, 3};
  EXPECT_EQ(sampler.next(logits, prompt, {}), 2);
  logits = {5, 1, 2, 3};
  EXPECT_EQ(sampler.next(logits, prompt, std::vector<int64_t>{2, 0}), 0);
  logits = {5, 1, 2, 3};
  EXPECT_EQ(sampler.next(logits, prompt, std::vector<int64_t>{2, 0, 0}), 1);
}

TEST(Sampler, GreedyTakesTheFirstBestAndReportsLogProbabilities) {
  SamplingOptions options;
  options.num_alternatives = 3;
  options.logit_bias = {{3, 10}};
  Sampler sampler(options);
  float ln2 = std::log(2.0f);
  std::vector<float> logits = {0, ln2, ln2, -std::numeric_limits<float>::infinity(), 0};  // sums to 6
  logits[3] = std::log(2.0f) - 5;
  double total = std::log(6 + 2 * std::exp(-5.0));
  EXPECT_EQ(sampler.next(logits, {}, {}), 3);
  EXPECT_NEAR(sampler.last().log_probability, std::log(2.0) - 5 - total, 1e-6);
  ASSERT_EQ(sampler.last().alternatives.size(), 3u);
  EXPECT_EQ(sampler.last().alternatives[0].first, 1);
  EXPECT_EQ(sampler.last().alternatives[1].first, 2);
  EXPECT_EQ(sampler.last().alternatives[2].first, 0);
  EXPECT_NEAR(sampler.last().alternatives[0].second, std::log(2.0) - total, 1e-6);
}

std::vector<int64_t> draw(SamplingOptions options, int count) {
  Sampler sampler(std::move(options));
  std::vector<int64_t> tokens;
  for (int step = 0; step < count; ++step) {
    std::vector<float> logits = {0.0f, std::log(2.0f), std::log(3.0f), std::log(4.0f)};
    tokens.push_back(sampler.next(logits, {}, {}));
  }
  return tokens;
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  SamplingOptions options;
  options.do_sample = true;
  options.seed = 7;
  std::vector<int64_t> tokens = draw(options, 20000);
  for (int64_t id = 0; id < 4; ++id) {
    auto share = static_cast<double>(std::count(tokens.begin(), tokens.end(), id)) / 20000;
    EXPECT_NEAR(share, static_cast<double>(id + 1) / 10, 0.015) << id;
  }
  options.temperature = 0;
  EXPECT_EQ(draw(options, 3), (std::vector<int64_t>{3, 3, 3}));
}

TEST(Sampler, TheSeedAloneDecides) {
  SamplingOptions options;
  options.do_sample = true;
  options.seed = 1234;
  // Fixed for all platforms: a change here changes the answers of everyone who set a seed.
  const std::vector<int64_t> wanted = {0, 3, 3, 3, 1, 3, 2, 1, 2, 3, 2, 1, 1, 3, 2, 3};
  EXPECT_EQ(draw(options, 16), wanted);
  options.seed = 1235;
  EXPECT_NE(draw(options, 16), wanted);
}

std::string failure(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

TEST(Sampler, RefusesWhatCannotBe) {
  SamplingOptions options;
  options.top_p = 1.5;
  EXPECT_EQ(failure([&] { Sampler sampler(options); }), "top_p = 1.5 is out of range");
  options.top_p = std::nan("");
  EXPECT_EQ(failure([&] { Sampler sampler(options); }), "top_p = nan is out of range");
  options = {};
  options.temperature = -1;
  EXPECT_EQ(failure([&] { Sampler sampler(options); }), "temperature = -1 is out of range");
  options = {};
  std::vector<float> logits(3, std::nanf(""));
  EXPECT_EQ(failure([&] { Sampler(options).next(logits, {}, {}); }),
            "the model gave no finite logit among 3");
  options.suppress_tokens = {0, 1, 2};
  logits = {1, 2, 3};
  EXPECT_EQ(failure([&] { Sampler(options).next(logits, {}, {}); }),
            "the sampling rules exclude every token");
  options = {};
  options.forced_first_token = 3;
  logits = {1, 2, 3};
  EXPECT_EQ(failure([&] { Sampler(options).next(logits, {}, {}); }),
            "the forced token 3 is outside the vocabulary of 3");
}

TEST(Sampler, PassesOverNotANumber) {
  SamplingOptions options;
  options.do_sample = true;
  options.top_p = 0.9;
  options.top_k = 2;
  Sampler sampler(options);
  for (int step = 0; step < 100; ++step) {
    std::vector<float> logits = {std::nanf(""), 1, std::nanf(""), 1};
    int64_t token = sampler.next(logits, {}, {});
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

}  // namespace
}  // namespace vlm
