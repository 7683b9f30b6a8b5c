// Training over whole systems: stages, freezing, stopping and going on, saving, quantising.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "system/system.h"
#include "train/save.h"
#include "train/train.h"
#include "train/training_state.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = VLM_SOURCE_DIR "/tests/cases";

class Training : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / ("vlm_training_" + std::string(info->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::string list = "[";
    for (int at = 0; at < 5; ++at)
      list += fmt::format(
          R"({}{{"image": "a.png", "conversations": [{{"from": "human", "value": "<image>\nName shape {}."}},
              {{"from": "gpt", "value": "Box {}."}}, {{"from": "human", "value": "And?"}}, {{"from": "gpt", "value": "A circle."}}]}})",
          at ? "," : "", at, at);
    write_text(folder_ / "list.json", list + "]");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // One stage on the list, of a checkpoint of tests/cases.
  Recipe recipe(const std::string& reference, const std::string& output) {
    Recipe recipe;
    recipe.name = "test";
    recipe.model_folder = kCases / reference / "checkpoint";
    recipe.source = (folder_ / "list.json").string();
    recipe.images = kCases / reference / "media";
    recipe.output = folder_ / output;
    StageRecipe stage;
    stage.name = "only";
    stage.batch = 2, stage.accumulate = 2;
    stage.steps = stage.rate.steps = 10;
    stage.rate.peak = 5e-3, stage.rate.warmup = 2;
    stage.average = 0.9;
    recipe.stages.push_back(stage);
    return recipe;
  }

  static std::map<std::string, Tensor> tensors_of(const fs::path& folder) {
    std::shared_ptr<const TensorSource> source = open_weights(folder);
    std::map<std::string, Tensor> tensors;
    for (const std::string& name : source->names()) tensors[name] = source->load(name).clone();
    return tensors;
  }

  fs::path folder_;
};

constexpr char kLlava[] = "llava-1.5-train-a";

TEST_F(Training, GoesOnExactlyWhereItStopped) {
  Recipe whole = recipe(kLlava, "whole"), halves = recipe(kLlava, "halves");
  whole.workers = 2;  // whoever computes a pass, its result is the same
  EXPECT_TRUE(run_recipe(whole).finished);
  TrainResult first = run_recipe(halves, {.max_steps = 5});
  EXPECT_FALSE(first.finished);
  EXPECT_EQ(first.step, 5);
  EXPECT_FALSE(fs::exists(folder_ / "halves/model.safetensors"));
  EXPECT_TRUE(run_recipe(halves).finished);
  EXPECT_EQ(read_text(folder_ / "whole/model.safetensors"), read_text(folder_ / "halves/model.safetensors"));
}

TEST_F(Training, StopsWhenAskedTo) {
  std::atomic<bool> stop = true;
  TrainResult result = run_recipe(recipe(kLlava, "out"), {.stop = &stop});
  EXPECT_FALSE(result.finished);
  EXPECT_EQ(result.step, 0);
  EXPECT_TRUE(fs::exists(folder_ / "out" / kTrainingStateFile));
}

TEST_F(Training, LossFalls) {
  Recipe longer = recipe(kLlava, "out");
  longer.stages[0].steps = longer.stages[0].rate.steps = 40;
  TrainResult result = run_recipe(longer);
  EXPECT_LT(result.loss, 2.0);  // of the last 20 steps; it begins above 6
}

// As fast as in float32, from the same weights: of the products alone, numbers are rounded.
TEST_F(Training, LossFallsTheSameWayInBfloat16) {
  auto loss_after = [&](const char* precision, int64_t steps) {
    Recipe run = recipe(kLlava, fmt::format("{}-{}", precision, steps));
    run.stages[0].steps = run.stages[0].rate.steps = steps;
    run.stages[0].precision = precision;
    return run_recipe(run).loss;
  };
  EXPECT_NEAR(loss_after("bfloat16", 1), loss_after("float32", 1), 0.05);
  double rounded = loss_after("bfloat16", 40), exact = loss_after("float32", 40);
  EXPECT_LT(rounded, 2.0);
  EXPECT_NEAR(rounded, exact, 0.1 * exact);
}

TEST_F(Training, BfloatAdaptsAndFreezesToo) {
  for (const char* reference : {"qwen2-vl-gptq-int4-act-a", "qwen2-vl-train-a"}) {
    Recipe adapt = recipe(reference, reference);
    adapt.images = kCases / reference / "media";
    adapt.stages[0].precision = "bfloat16";
    adapt.stages[0].trains = {"language"};
    adapt.stages[0].lora = {.rank = 4, .alpha = 8, .targets = {"*q_proj.weight"}};
    EXPECT_TRUE(std::isfinite(run_recipe(adapt).loss)) << reference;
  }
}

TEST_F(Training, TrainsThePartsOfItsStageAlone) {
  Recipe align = recipe(kLlava, "out");
  align.stages[0].trains = {"connector"};
  align.stages[0].freezes = {"*linear_1.bias"};
  run_recipe(align);
  std::map<std::string, Tensor> before = tensors_of(align.model_folder), after = tensors_of(align.output);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before) {
    bool trains = name.find("projector") != std::string::npos && !name.ends_with("linear_1.bias");
    EXPECT_EQ(at::equal(value.to(at::kFloat), after.at(name)), !trains) << name;
  }
}

TEST_F(Training, NamesAStageThatTrainsNothing) {
  Recipe nothing = recipe(kLlava, "out");
  nothing.stages[0].trains = {"conector"};
  try {
    run_recipe(nothing);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("stage only trains nothing"), std::string::npos) << error.what();
  }
}

TEST_F(Training, AdaptersLearnAndAreMerged) {
  Recipe adapted = recipe(kLlava, "out");
  StageRecipe& stage = adapted.stages[0];
  stage.lora.rank = 2, stage.lora.alpha = 4, stage.lora.targets = {"*language_model*q_proj.weight"};
  stage.trains = {"connector"};
  run_recipe(adapted);
  std::map<std::string, Tensor> before = tensors_of(adapted.model_folder), after = tensors_of(adapted.output);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before) {
    bool is_adapted = name.find("language_model") != std::string::npos && name.ends_with("q_proj.weight");
    bool trains = is_adapted || name.find("projector") != std::string::npos;
    EXPECT_EQ(at::equal(value.to(at::kFloat), after.at(name)), !trains) << name;
    if (!is_adapted) continue;
    Tensor change = after.at(name) - value.to(at::kFloat);
    Tensor singular = std::get<1>(at::linalg_svd(change));
    EXPECT_LT(singular[2].item<double>(), 1e-5 * singular[0].item<double>()) << name;
  }
  std::map<std::string, Tensor> adapter = tensors_of(adapted.output / "adapter-only");
  EXPECT_TRUE(adapter.begin()->first.starts_with("base_model.model.language_model."))
      << adapter.begin()->first;
}

TEST_F(Training, DualEncodersLearnPairs) {
  Recipe pairs = recipe("clip-train-a", "out");
  pairs.images = kCases / kLlava / "media";
  StageRecipe& stage = pairs.stages[0];
  stage.objective = "contrastive";
  stage.batch = 4, stage.accumulate = 1;
  stage.steps = stage.rate.steps = 30;
  pairs.source = "scenes";
  TrainResult result = run_recipe(pairs);
  EXPECT_TRUE(result.finished);
  EXPECT_LT(result.loss, 1.4);  // log 4 = 1.386 without any knowledge
}

// Wrong partners are drawn, and yet a run can be repeated.
TEST_F(Training, MatchersLearnFromDrawnPairsTheSameWayTwice) {
  auto trained = [&](const char* output) {
    Recipe pairs = recipe("blip-itm-a", output);
    pairs.source = "scenes";
    StageRecipe& stage = pairs.stages[0];
    stage.objective = "pairs";
    stage.batch = 4, stage.accumulate = 1;
    stage.steps = stage.rate.steps = 4;
    EXPECT_TRUE(run_recipe(pairs).finished);
    return tensors_of(folder_ / output);
  };
  std::map<std::string, Tensor> before = tensors_of(kCases / "blip-itm-a/checkpoint"),
                                first = trained("first"), second = trained("second");
  for (const auto& [name, value] : first) EXPECT_TRUE(at::equal(value, second.at(name))) << name;
  for (const char* name : {"itm_head.weight", "text_proj.weight", "vision_proj.weight"})
    EXPECT_FALSE(at::equal(before.at(name), first.at(name))) << name;
}

TEST_F(Training, PaddingDoesNotReachEncoders) {
  write_text(folder_ / "list.json", R"([
    {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nHow?"}, {"from": "gpt", "value": "So."}]},
    {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nHow many are there in all?"},
                                         {"from": "gpt", "value": "There are seven of them in the picture."}]}])");
  auto trained = [&](const char* output, bool pad) {
    Recipe padded = recipe("blip-2-t5-a", output);
    padded.stages[0].pad = pad;
    padded.stages[0].steps = padded.stages[0].rate.steps = 2;
    EXPECT_TRUE(run_recipe(padded).finished);
    return tensors_of(folder_ / output);
  };
  std::map<std::string, Tensor> with = trained("with", true), without = trained("without", false);
  for (const auto& [name, value] : with) EXPECT_TRUE(at::equal(value, without.at(name))) << name;
}

TEST_F(Training, BeginsFromNothing) {
  Recipe scratch = read_recipe(VLM_SOURCE_DIR "/recipes/default.toml",
                               {"output.folder=" + (folder_ / "out").string(), "evaluation.every=0"});
  scratch.stages.resize(2);
  for (StageRecipe& stage : scratch.stages) {
    stage.steps = stage.rate.steps = 1;
    stage.batch = 1, stage.accumulate = 1;
  }
  EXPECT_TRUE(run_recipe(scratch).finished);
  bind_model(Checkpoint::open(folder_ / "out"), {});  // complete and nothing but the model
}

TEST_F(Training, SavedModelsLoadBitForBit) {
  LoadedModel model = bind_model(Checkpoint::open(kCases / kLlava / "checkpoint"), {});
  save_model(model, folder_ / "saved", at::kFloat);
  std::map<std::string, Tensor> before = tensors_of(kCases / kLlava / "checkpoint"),
                                after = tensors_of(folder_ / "saved");
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before)
    EXPECT_TRUE(at::equal(value.to(at::kFloat), after.at(name))) << name;
  LoadedModel again = bind_model(Checkpoint::open(folder_ / "saved"), {});
  EXPECT_EQ(again.weights->parameters().size(), model.weights->parameters().size());
}

TEST_F(Training, QuantisedCheckpointsKeepTheirWeightsWithinAStep) {
  Recipe scratch = read_recipe(VLM_SOURCE_DIR "/recipes/default.toml",
                               {"output.folder=" + (folder_ / "full").string(), "evaluation.every=0"});
  scratch.stages.resize(1);
  scratch.stages[0].steps = scratch.stages[0].rate.steps = scratch.stages[0].batch = 1;
  run_recipe(scratch);
  std::map<std::string, Tensor> full = tensors_of(folder_ / "full");
  for (Precision precision : {Precision::int8, Precision::int4}) {
    fs::path folder = folder_ / precision_name(precision);
    quantise_checkpoint(folder_ / "full", folder, {.precision = precision});
    std::map<std::string, Tensor> stored = tensors_of(folder);
    const std::string name = "language_model.model.layers.0.mlp.up_proj.weight";
    ASSERT_TRUE(stored.count(name + "_scale"));
    EXPECT_EQ(stored.at(name).scalar_type(), precision == Precision::int8 ? at::kChar : at::kByte);
    GroupQuantised matrix{stored.at(name), stored.at(name + "_scale").to(at::kFloat), {}};
    if (stored.count(name + "_min")) matrix.minimums = stored.at(name + "_min").to(at::kFloat);
    Tensor difference = (dequantise(matrix) - full.at(name)).abs();
    double step = matrix.scales.max().item<double>();
    // 8 bits: half a step, and float16 scales. 4 bits may cut the largest weight for the sake of the others.
    EXPECT_LT(difference.max().item<double>(), (precision == Precision::int8 ? 0.55 : 1.1) * step);
    WeightsOptions options;
    options.precision = precision;
    bind_model(Checkpoint::open(folder), options);
    EXPECT_NE(read_text(folder / "config.json").find("\"quant_method\": \"vlm\""), std::string::npos);
    EXPECT_THROW(quantise_checkpoint(folder, folder_ / "twice", {.precision = precision}), Error);
  }
  EXPECT_THROW(quantise_checkpoint(folder_ / "full", folder_ / "full", {.precision = Precision::int8}),
               Error);
}

TEST_F(Training, AdaptersOfPackedMatricesAreMerged) {
  Recipe adapt = recipe("qwen2-vl-gptq-int4-act-a", "out");
  adapt.stages[0].trains = {"language"};
  adapt.stages[0].lora = {.rank = 4, .alpha = 8, .targets = {"*q_proj.weight"}};
  run_recipe(adapt);
  const std::string name = "model.layers.0.self_attn.q_proj.weight",
                    other = "model.layers.0.self_attn.k_proj.weight";
  std::map<std::string, Tensor> after = tensors_of(adapt.output);
  ASSERT_TRUE(after.count(name));
  EXPECT_EQ(after.at(name).scalar_type(), at::kFloat);
  EXPECT_FALSE(after.count(name + "_scale"));
  EXPECT_EQ(after.at(other).scalar_type(), at::kByte);  // untouched
  Weights before(Checkpoint::open(adapt.model_folder).source, {});
  Tensor published = dequantise(*before.take_quantised(name, after.at(name).sizes().vec()));
  auto adapter = open_safetensors(adapt.output / "adapter-only/adapter_model.safetensors");
  std::string stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
  Tensor change = at::mm(adapter->load(stem + "B.weight"), adapter->load(stem + "A.weight")) * 2.0;
  EXPECT_GT(change.abs().max().item<double>(), 0);
  EXPECT_LT((after.at(name) - published - change).abs().max().item<double>(), 1e-5);
  EXPECT_NO_THROW(bind_model(Checkpoint::open(adapt.output), {}));
}

TEST_F(Training, WhatOthersPackedIsNotQuantisedAgain) {
  for (const char* name : {"qwen2-vl-gptq-int4-a", "qwen2-vl-awq-a"}) try {
      quantise_checkpoint(kCases / name / "checkpoint", folder_ / name, {.precision = Precision::int8});
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("is quantised already"), std::string::npos) << error.what();
    }
}

// Layouts with another config file, or with a tower in a folder below.
TEST_F(Training, EveryLayoutCanBeQuantised) {
  for (const char* name : {"metaclip-openclip-a", "llava-1.5-authors-a"}) {
    fs::path folder = folder_ / name;
    quantise_checkpoint(kCases / name / "checkpoint", folder, {.precision = Precision::int8});
    WeightsOptions options;
    options.precision = Precision::int8;
    LoadedModel model = bind_model(Checkpoint::open(folder), options);
    EXPECT_FALSE(model.weights->parameters().empty()) << name;
  }
}

}  // namespace
}  // namespace vlm
