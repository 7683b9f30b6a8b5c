#include "engine/sampler_beam.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "engine/sampler.h"

namespace vlm {
namespace {

using nlohmann::json;
using Table = std::vector<std::vector<float>>;

// The toy model of the reference: logits = last[the last token] + before[the one before it].
std::vector<float> log_probabilities(const Table& last, const Table& before,
                                     const std::vector<int64_t>& ids) {
  std::vector<float> row = last[static_cast<size_t>(ids.back())];
  const std::vector<float>& more = before[static_cast<size_t>(ids[ids.size() - 2])];
  for (size_t id = 0; id < row.size(); ++id) row[id] += more[id];
  double total = log_sum_exp(row);
  for (float& score : row) score = static_cast<float>(score - total);
  return row;
}

BeamOptions options_of(const json& entry) {
  BeamOptions options;
  options.num_beams = entry["num_beams"].get<int64_t>();
  options.max_new_tokens = entry["max_new_tokens"].get<int64_t>();
  options.length_penalty = entry["length_penalty"].get<double>();
  options.eos_ids = entry["eos_ids"].get<std::vector<int64_t>>();
  const json& early = entry["early_stopping"];
  options.early_stopping = early.is_string()   ? EarlyStopping::never
                           : early.get<bool>() ? EarlyStopping::yes
                                               : EarlyStopping::no;
  return options;
}

TEST(BeamSearch, AgreesWithTransformers) {
  json document =
      json::parse(read_text(std::filesystem::path(VLM_SOURCE_DIR) / "tests/cases/sampling/beams.json"));
  auto vocabulary = document["vocabulary"].get<int64_t>();
  ASSERT_GT(document["cases"].size(), 300u);
  for (const json& entry : document["cases"]) {
    SCOPED_TRACE(entry.dump());
    auto tables = document["tables"][entry["table"].get<size_t>()].get<std::vector<Table>>();
    auto prompt = entry["prompt"].get<std::vector<int64_t>>();
    SamplingOptions rules;
    rules.no_repeat_ngram_size = entry.value("no_repeat_ngram_size", 0);
    rules.repetition_penalty = entry.value("repetition_penalty", 1.0);
    BeamSearch search(options_of(entry));
    while (!search.is_done()) {
      std::vector<float> scores;
      for (int64_t beam = 0; beam < search.num_beams(); ++beam) {
        std::vector<int64_t> ids = prompt;
        const std::vector<int64_t>& generated = search.open_sequence(beam);
        ids.insert(ids.end(), generated.begin(), generated.end());
        std::vector<float> row = log_probabilities(tables[0], tables[1], ids);
        apply_rules(rules, row, prompt, generated);
        scores.insert(scores.end(), row.begin(), row.end());
      }
      search.step(scores, vocabulary);
    }
    auto answers = search.answers();
    ASSERT_EQ(answers.size(), entry["answers"].size());
    for (size_t idx = 0; idx < answers.size(); ++idx) {
      EXPECT_EQ(answers[idx].tokens, entry["answers"][idx]["tokens"].get<std::vector<int64_t>>());
      double wanted = entry["answers"][idx]["score"].get<double>();
      EXPECT_NEAR(answers[idx].score, wanted, 1e-4 * (1 + std::abs(wanted)));
    }
  }
}

TEST(BeamSearch, SaysWhichBeamGoesOnWithWhat) {
  BeamOptions options;
  options.num_beams = 2;
  options.max_new_tokens = 2;
  options.eos_ids = {0};
  BeamSearch search(options);
  BeamSearch::Step step = search.step(std::vector<float>{-3, -0.5, -2}, 3);  // one row: the prompt
  EXPECT_EQ(step.parents, (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(step.tokens, (std::vector<int64_t>{1, 2}));
  EXPECT_FALSE(search.is_done());
  search.step(std::vector<float>{-9, -8, -7, -0.1, -9, -9}, 3);
  ASSERT_TRUE(search.is_done());
  ASSERT_EQ(search.answers().size(), 2u);
  EXPECT_EQ(search.answers()[0].tokens, (std::vector<int64_t>{2, 0}));
  EXPECT_FLOAT_EQ(static_cast<float>(search.answers()[0].score), -2.1f / 2);
  EXPECT_EQ(search.answers()[1].tokens, (std::vector<int64_t>{1, 2}));
}

TEST(BeamSearch, RefusesBadOptions) {
  BeamOptions options;
  options.num_beams = 0;
  try {
    BeamSearch search(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "num_beams = 0 is out of range");
  }
  BeamSearch search(BeamOptions{});
  EXPECT_THROW(search.step(std::vector<float>{std::nanf(""), std::nanf("")}, 2), Error);
}

}  // namespace
}  // namespace vlm
