// Checkpoints packed by AutoGPTQ and AutoAWQ, kept packed: their layers give what the dequantised ones do.
#include <gtest/gtest.h>

#include "engine/case.h"
#include "engine/decode.h"
#include "engine/load.h"
#include "ops/linear.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = VLM_SOURCE_DIR "/tests/cases";
constexpr const char* kPacked[] = {"qwen2-vl-awq-a", "qwen2-vl-gptq-int4-a", "qwen2-vl-gptq-int4-act-a",
                                   "qwen2-vl-gptq-int8-a", "qwen2-vl-gptq-int8-act-a"};

Tensor logits_of(const fs::path& folder, Precision precision) {
  at::NoGradGuard no_grad;
  ReferenceCase reference = ReferenceCase::read(folder);
  WeightsOptions options;
  options.precision = precision;
  LoadedModel loaded = bind_model(Checkpoint::open(folder / "checkpoint"), options);
  const auto* generator = as<Generator>(*loaded.model);
  Prompt prompt = generator->prepare(reference.request);
  DecodeTimes times;
  Sequence sequence;
  return generator->prefill(prompt, encode_media(*generator, prompt, nullptr, times), sequence, true);
}

double distance(const Tensor& found, const Tensor& wanted) {
  return (found - wanted).norm().item<double>() / wanted.norm().item<double>();
}

TEST(Packed, LayersKeptPackedComputeTheSame) {
  for (const char* name : kPacked) {
    Tensor wanted = logits_of(kCases / name, Precision::f32);
    ops::set_kernels_enabled(false);
    // Scales and minimums are rounded to float16, nothing else.
    EXPECT_LT(distance(logits_of(kCases / name, Precision::bf16), wanted), 2e-3) << name;
    ops::set_kernels_enabled(true);
    EXPECT_LT(distance(logits_of(kCases / name, Precision::bf16), wanted), 3e-2)
        << name;  // 8-bit activations
  }
}

TEST(Packed, WhatWasNotPackedStaysInSixteenBits) {
  for (const char* name : kPacked) {
    auto loaded = load_model((kCases / name / "checkpoint").string());
    EXPECT_EQ(loaded->weights->options().precision, Precision::bf16) << name;
  }
}

}  // namespace
}  // namespace vlm
