#include "engine/sampler_defaults.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

SamplingDefaults read(const char* text) {
  return sampling_defaults(Json::parse(text, "generation_config.json"));
}

// Qwen2-VL's file.
TEST(SamplingDefaults, AreTheFilesOwn) {
  SamplingDefaults defaults = read(
      R"({"do_sample": true, "repetition_penalty": 1.05, "temperature": 0.1, "top_p": 0.001, "top_k": 1, "eos_token_id": [2, 3]})");
  EXPECT_TRUE(defaults.sampling.do_sample);
  EXPECT_EQ(defaults.sampling.temperature, 0.1);
  EXPECT_EQ(defaults.sampling.top_p, 0.001);
  EXPECT_EQ(defaults.sampling.top_k, 1);
  EXPECT_EQ(defaults.sampling.repetition_penalty, 1.05);
  EXPECT_EQ(defaults.max_new_tokens, std::nullopt);
}

// transformers warns that these have no effect, and ignores them.
TEST(SamplingDefaults, WithoutDoSampleAreGreedy) {
  SamplingDefaults defaults = read(R"({"temperature": 0.9, "top_p": 0.6, "max_new_tokens": 40})");
  EXPECT_FALSE(defaults.sampling.do_sample);
  EXPECT_EQ(defaults.sampling.temperature, 1);
  EXPECT_EQ(defaults.sampling.top_p, 1);
  EXPECT_EQ(defaults.sampling.top_k, 0);
  EXPECT_EQ(defaults.max_new_tokens, 40);
}

TEST(SamplingDefaults, FillInWhatTransformersFillsIn) {
  EXPECT_EQ(read(R"({"do_sample": true, "top_k": null})").sampling.top_k, 50);
  EXPECT_EQ(read(R"({"do_sample": true, "top_k": 0})").sampling.top_k, 0);
  EXPECT_FALSE(read(R"({"do_sample": true, "temperature": 0})").sampling.do_sample);
  EXPECT_FALSE(sampling_defaults(Json()).sampling.do_sample);
}

TEST(SamplingDefaults, RefuseWhatCannotBe) {
  try {
    read(R"({"do_sample": true, "top_p": 2})");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_checkpoint);
    EXPECT_EQ(error.message(), "generation_config.json: top_p = 2 is out of range");
  }
}

}  // namespace
}  // namespace vlm
