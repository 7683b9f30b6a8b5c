// Every recipe of recipes/ on small checkpoints of the systems it is for: as it stands, without adapters, and
// with patterns that freeze.
#include <gtest/gtest.h>

#include <set>

#include "base/files.h"
#include "system/system.h"
#include "train/compose.h"
#include "train/train.h"
#include "weights/source.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = VLM_SOURCE_DIR, kCases = kSource / "tests/cases";

// A recipe, and a case whose checkpoint it trains.
struct Smoke {
  const char *recipe, *reference;
};
constexpr Smoke kSmokes[] = {
    {"blip", "blip-vqa-a"},
    {"blip", "blip-caption-a"},
    {"blip-2", "blip-2-opt-a"},
    {"blip-2", "blip-2-t5-a"},
    {"deepseek-vl", "deepseek-vl-a"},
    {"deepseek-vl", "deepseek-vl-7b-authors-a"},
    {"florence-2", "florence-2-train-a"},
    {"fuyu", "fuyu-train-a"},
    {"idefics", "idefics-train-a"},
    {"idefics2", "idefics2-train-a"},
    {"idefics3", "idefics3-train-a"},
    {"instructblip", "instructblip-vicuna-a"},
    {"instructblip", "instructblip-t5-a"},
    {"kosmos-2", "kosmos-2-train-a"},
    {"llava", "llava-v0-a"},
    {"llava", "llava-mpt-a"},
    {"llava-1.6", "llava-1.6-train-a"},
    {"llava-1.6", "llava-1.6-authors-a"},
    {"llava-onevision", "llava-onevision-train-a"},
    {"llava-onevision", "llava-onevision-authors-a"},
    {"mantis", "mantis-train-a"},
    {"nous-hermes-2-vision", "nous-hermes-2-vision-a"},
    {"otterhd", "otterhd-train-a"},
    {"paligemma", "paligemma-train-a"},
    {"qwen2-vl", "qwen2-vl-train-a"},
};

using Tensors = std::map<std::string, Tensor>;

Tensors tensors_of(const fs::path& folder) {
  std::shared_ptr<const TensorSource> source = open_weights(folder);
  Tensors tensors;
  for (const std::string& name : source->names()) tensors[name] = source->load(name).to(at::kFloat);
  return tensors;
}

class Recipes : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = fs::path(testing::TempDir()) / ("vlm_recipes_" + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_text(folder_ / "list.json", R"([
      {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nName the shape."}, {"from": "gpt", "value": "A box."}]},
      {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nHow many?"}, {"from": "gpt", "value": "Two of them."}]}])");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Cut to a few small steps, on the list; the rate stays the recipe's at its first step.
  Recipe read(const std::string& name, const fs::path& checkpoint, const fs::path& media) {
    Recipe recipe = read_recipe(
        kSource / "recipes" / (name + ".toml"),
        {"model.folder=" + checkpoint.string(), "data.images=" + media.string(),
         "data.source=" + (folder_ / "list.json").string(), "output.folder=" + (folder_ / "out").string()});
    recipe.save_dtype = "float32";
    for (StageRecipe& stage : recipe.stages) {
      stage.steps = stage.rate.steps = 2;
      stage.rate.warmup = 0;
      stage.batch = 1;
    }
    return recipe;
  }

  // Whether a parameter of that name has other values than before.
  std::map<std::string, bool> changed_by(const Recipe& recipe, const Tensors& before) {
    TrainResult result = run_recipe(recipe);
    EXPECT_TRUE(result.finished);
    EXPECT_TRUE(std::isfinite(result.loss));
    bind_model(Checkpoint::open(recipe.output), {});  // whole, and nothing besides
    std::map<std::string, bool> changed;
    for (const auto& [name, value] : tensors_of(recipe.output))
      if (auto old = before.find(name); old != before.end())
        changed[name] = !at::equal(value, old->second.reshape(value.sizes()));
    return changed;
  }

  fs::path folder_;
};

class EachRecipe : public Recipes, public testing::WithParamInterface<Smoke> {
 protected:
  Recipe recipe() {
    fs::path folder = kCases / GetParam().reference;
    return read(GetParam().recipe, folder / "checkpoint", folder / "media");
  }
  Tensors before() { return tensors_of(kCases / GetParam().reference / "checkpoint"); }
};

TEST_P(EachRecipe, AdaptsWhatItNames) {
  Recipe adapts = recipe();
  const LoraOptions& lora = adapts.stages.back().lora;
  ASSERT_GT(lora.rank, 0);
  size_t adapted = 0;
  for (const auto& [name, is_changed] : changed_by(adapts, before())) {
    bool is_target = std::any_of(lora.targets.begin(), lora.targets.end(),
                                 [&](const std::string& pattern) { return glob_matches(pattern, name); });
    adapted += is_target && is_changed;
  }
  EXPECT_GT(adapted, 0u);
}

TEST_P(EachRecipe, TrainsEverythingWithoutAdapters) {
  Recipe full = recipe();
  full.stages.back().lora = {};
  full.stages.back().trains = {"*"};
  size_t count = 0, total = 0;
  for (const auto& [name, is_changed] : changed_by(full, before())) count += is_changed, ++total;
  EXPECT_GT(2 * count, total);  // layers behind the features' one never run
}

TEST_P(EachRecipe, LeavesFrozenPatternsAlone) {
  Recipe frozen = recipe();
  frozen.stages.back().lora = {};
  frozen.stages.back().trains = {"*"};
  frozen.stages.back().freezes = {"*bias", "*norm*"};
  size_t trained = 0, kept = 0;
  for (const auto& [name, is_changed] : changed_by(frozen, before())) {
    bool is_frozen = glob_matches("*bias", name) || glob_matches("*norm*", name);
    EXPECT_FALSE(is_frozen && is_changed) << name;
    kept += is_frozen, trained += is_changed;
  }
  EXPECT_GT(trained, 0u);
  EXPECT_GT(kept, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, EachRecipe, testing::ValuesIn(kSmokes),
                         [](const testing::TestParamInfo<Smoke>& info) {
                           std::string name =
                               fmt::format("{}_on_{}", info.param.recipe, info.param.reference);
                           for (char& letter : name)
                             if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
                           return name;
                         });

TEST_F(Recipes, ComposedModelsTrainByTheirs) {
  write_text(folder_ / "compose.toml",
             fmt::format("name = \"tiny\"\n[vision]\ncheckpoint = \"{0}/siglip-a/checkpoint\"\n[connector]\n"
                         "type = \"perceiver\"\ntokens = 5\nheads = 2\n[language]\ncheckpoint = "
                         "\"{0}/block-phi-a/checkpoint\"\n",
                         kCases.string()));
  compose_checkpoint(folder_ / "compose.toml", folder_ / "made");
  Recipe recipe = read("siglip-perceiver-phi", folder_ / "made", kCases / "siglip-a/media");
  std::map<std::string, bool> changed = changed_by(recipe, tensors_of(folder_ / "made"));
  EXPECT_TRUE(changed.at("language_model.model.layers.0.self_attn.q_proj.weight"));
  EXPECT_FALSE(changed.at("vision_tower.encoder.layers.0.mlp.fc1.weight"));
}

// A recipe nobody runs would rot: each is in the table above, or has a test of its own.
TEST_F(Recipes, AreAllRun) {
  std::set<std::string> run{"default", "siglip-perceiver-phi"};
  for (const Smoke& smoke : kSmokes) run.insert(smoke.recipe);
  for (const fs::directory_entry& entry : fs::directory_iterator(kSource / "recipes"))
    EXPECT_TRUE(entry.path().extension() != ".toml" || run.count(entry.path().stem().string())) << entry;
}

}  // namespace
}  // namespace vlm
