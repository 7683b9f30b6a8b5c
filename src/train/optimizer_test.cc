#include "train/optimizer.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

// Five clipped steps of torch.optim.AdamW and clip_grad_norm_ (torch 2.x) with these gradients.
std::vector<float> values_after_five_steps(bool decays) {
  Tensor value = at::tensor({0.5f, -1.25f, 2.0f, 0.1f}).view({2, 2});
  AdamOptions options;
  options.beta1 = 0.9, options.beta2 = 0.98, options.weight_decay = 0.05, options.clip = 1.0;
  AdamW::Entry entry;
  entry.name = "w", entry.value = value, entry.decays = decays;
  AdamW adam({entry}, options);
  for (int step = 0; step < 5; ++step) {
    adam.zero_gradients();
    double factor = (1.0 + 0.5 * step) * (step == 3 ? -1 : 1);
    adam.add_gradients({at::tensor({0.3f, -0.7f, 1.1f, 0.02f}).view({2, 2}) * factor});
    EXPECT_TRUE(adam.step(0.01));
  }
  return to_floats(value);
}

TEST(AdamW, MatchesTorch) {
  const std::vector<float> decayed = {0.459009439f, -1.20713627f, 1.9552629f, 0.0600084737f};
  const std::vector<float> kept = {0.460211158f, -1.21021116f, 1.96021116f, 0.0602111742f};
  std::vector<float> found = values_after_five_steps(true);
  for (size_t at = 0; at < decayed.size(); ++at) EXPECT_NEAR(found[at], decayed[at], 1e-6) << at;
  found = values_after_five_steps(false);
  for (size_t at = 0; at < kept.size(); ++at) EXPECT_NEAR(found[at], kept[at], 1e-6) << at;
}

TEST(AdamW, LeavesOutStepsWithoutFiniteGradients) {
  Tensor value = at::ones({3});
  AdamW adam({{"w", value}}, {});
  adam.add_gradients({at::tensor({1.0f, std::numeric_limits<float>::infinity(), 0.0f})});
  EXPECT_FALSE(adam.step(0.1));
  EXPECT_TRUE(at::equal(value, at::ones({3})));
  EXPECT_EQ(adam.steps_done(), 0);
}

TEST(AdamW, LeavesParametersWithoutGradientAlone) {
  Tensor used = at::ones({2, 2}), unused = at::ones({2, 2});
  AdamW adam({{"used", used}, {"unused", unused}}, {});
  adam.add_gradients({at::ones({2, 2}), Tensor()});
  EXPECT_TRUE(adam.step(0.1));
  EXPECT_FALSE(at::equal(used, at::ones({2, 2})));
  EXPECT_TRUE(at::equal(unused, at::ones({2, 2})));
}

TEST(AdamW, AddsGradientsInOrder) {
  Tensor value = at::zeros({1});
  AdamW adam({{"w", value}}, {});
  adam.add_gradients({at::ones({1})});
  adam.add_gradients({at::full({1}, 2.0f)});
  EXPECT_DOUBLE_EQ(adam.gradient_norm(), 3.0);
}

TEST(WeightDecay, SparesNormsBiasesAndEmbeddings) {
  EXPECT_TRUE(decays_by_default("model.layers.0.mlp.up_proj.weight", at::ones({2, 2})));
  EXPECT_FALSE(decays_by_default("model.layers.0.input_layernorm.weight", at::ones({2})));
  EXPECT_FALSE(decays_by_default("model.embed_tokens.weight", at::ones({2, 2})));
}

LearningRate rate_of(const char* schedule) {
  LearningRate rate;
  rate.schedule = schedule_from(schedule);
  rate.peak = 2, rate.last = 0.1, rate.warmup = 10, rate.cooldown = 20, rate.steps = 110;
  return rate;
}

TEST(LearningRate, WarmsUpToThePeak) {
  for (const char* schedule : {"constant", "linear", "cosine", "trapezoid"}) {
    LearningRate rate = rate_of(schedule);
    EXPECT_NEAR(rate.at(0), 0.2, 1e-12) << schedule;
    EXPECT_NEAR(rate.at(9), 2, 1e-12) << schedule;
    EXPECT_NEAR(rate.at(10), 2, 1e-12) << schedule;
  }
}

TEST(LearningRate, FallsAsItsScheduleSays) {
  EXPECT_NEAR(rate_of("constant").at(109), 2, 1e-12);
  EXPECT_NEAR(rate_of("linear").at(60), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(rate_of("cosine").at(60), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(rate_of("cosine").at(35), 2 * (0.1 + 0.9 * 0.85355339), 1e-7);
  EXPECT_NEAR(rate_of("trapezoid").at(89), 2, 1e-12);
  EXPECT_NEAR(rate_of("trapezoid").at(100), 2 * (1 - 0.9 * 0.5), 1e-12);
  for (const char* schedule : {"linear", "cosine", "trapezoid"})
    EXPECT_NEAR(rate_of(schedule).at(110), 0.2, 1e-12) << schedule;
}

TEST(LearningRate, UnknownScheduleIsAnError) {
  try {
    schedule_from("cosinus");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "unknown schedule \"cosinus\"");
  }
}

TEST(AveragedWeights, FollowsSlowlyAndSwaps) {
  Tensor value = at::zeros({2});
  AveragedWeights average({value}, 0.9);
  value.fill_(1);
  average.update(1000000);
  EXPECT_NEAR(average.averages()[0][0].item<double>(), 0.1, 1e-6);
  average.swap();
  EXPECT_NEAR(value[0].item<double>(), 0.1, 1e-6);
  average.swap();
  EXPECT_EQ(value[0].item<double>(), 1);
}

}  // namespace
}  // namespace vlm
