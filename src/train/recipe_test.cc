#include "train/recipe.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace vlm {
namespace {

class RecipeFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "vlm_recipe_test";
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Recipe read(const std::string& text, const std::vector<std::string>& overrides = {}) {
    write_text(folder_ / "test.toml", text);
    return read_recipe(folder_ / "test.toml", overrides);
  }
  std::string message_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
    try {
      read(text, overrides);
    } catch (const Error& error) {
      return error.message() + " | " + error.hint();
    }
    return "no error";
  }

  std::filesystem::path folder_;
  const std::string whole_ = R"(
name = "small"
[model]
init = "config"
[data]
seed = 3
[data.scenes]
turns = 5
max_objects = 4
[output]
folder = "out"
[[stage]]
name = "align"
trains = ["connector"]
samples = 33
batch = 4
accumulate = 2
lr = 1e-3
warmup = 2
[[stage]]
name = "tune"
freezes = ["vision"]
steps = 7
lr_scale = { connector = 0.1 }
lora = { rank = 4, alpha = 8, targets = ["*q_proj*"] }
scenes = { turns = 2 }
)";
};

TEST_F(RecipeFile, ReadsEverything) {
  Recipe recipe = read(whole_);
  EXPECT_EQ(recipe.name, "small");
  EXPECT_TRUE(recipe.from_scratch);
  EXPECT_EQ(recipe.model_folder, folder_ / "config");
  EXPECT_EQ(recipe.output, folder_ / "out");
  EXPECT_EQ(recipe.seed, 3u);
  ASSERT_EQ(recipe.stages.size(), 2u);
  const StageRecipe &align = recipe.stages[0], &tune = recipe.stages[1];
  EXPECT_EQ(align.steps, 5);  // 33 samples in steps of 8
  EXPECT_EQ(align.rate.steps, 5);
  EXPECT_EQ(align.rate.warmup, 2);
  EXPECT_EQ(align.trains, std::vector<std::string>{"connector"});
  EXPECT_EQ(align.data.questions.turns, 5);
  EXPECT_EQ(tune.data.questions.turns, 2);
  EXPECT_EQ(tune.data.scene.max_objects, 4);
  EXPECT_EQ(tune.freezes, std::vector<std::string>{"vision"});
  EXPECT_EQ(tune.lora.rank, 4);
  EXPECT_EQ(tune.lr_scale.at("connector"), 0.1);
}

TEST_F(RecipeFile, OverridesReplaceValues) {
  Recipe recipe = read(whole_, {"stage.align.lr=0.5", "stage.tune.steps=9", "data.seed=11",
                                "data.scenes.turns=1", "name=other", "output.folder=/somewhere"});
  EXPECT_EQ(recipe.stages[0].rate.peak, 0.5);
  EXPECT_EQ(recipe.stages[1].steps, 9);
  EXPECT_EQ(recipe.seed, 11u);
  EXPECT_EQ(recipe.stages[0].data.questions.turns, 1);
  EXPECT_EQ(recipe.name, "other");
  EXPECT_EQ(recipe.output, "/somewhere");
}

TEST_F(RecipeFile, NamesTheNearestKey) {
  EXPECT_EQ(message_of(whole_, {"stage.align.warmpu=3"}),
            "test.toml: stage[0].warmpu: unknown key | did you mean warmup?");
  EXPECT_EQ(message_of(whole_, {"modle.init=3"}), "test.toml: modle: unknown key | did you mean model?");
}

TEST_F(RecipeFile, SaysWhatIsWrong) {
  EXPECT_EQ(
      message_of(whole_, {"stage.align.lr=fast"}),
      "test.toml: stage[0].lr: expected a number from 0 to 1000000000 | compare with the recipes that come "
      "with the program");
  EXPECT_EQ(message_of(whole_, {"stage.align.steps=3"}),
            "test.toml: stage[0]: how long should it train? | give either steps or samples");
  EXPECT_EQ(message_of(whole_, {"stage.align.name=tune"}),
            (folder_ / "test.toml").string() +
                ": two stages are called \"tune\" | give every stage a name of its own");
  EXPECT_EQ(
      message_of(whole_, {"stage.aling.lr=1"}),
      "\"stage.aling.lr=1\": the recipe has no stage called \"aling\" | write stage.NAME.key=value with the "
      "name of one of them");
  EXPECT_EQ(message_of(whole_, {"lr"}), "\"lr\" is no key=value | for example stage.pretrain.lr=1e-3");
  EXPECT_EQ(message_of(whole_, {"stage.align.schedule=cosinus"}),
            "unknown schedule \"cosinus\" | use constant, linear, cosine or trapezoid");
  EXPECT_EQ(
      message_of(whole_, {"model.folder=x"}),
      (folder_ / "test.toml").string() +
          ": give either model.folder or model.init | model.folder: a checkpoint; model.init: a folder with "
          "config and tokenizer");
}

TEST_F(RecipeFile, NamesTheLineOfASyntaxError) {
  std::string message = message_of("[model]\ninit = \n");
  EXPECT_NE(message.find("test.toml: line 2, column "), std::string::npos) << message;
}

TEST_F(RecipeFile, TheDefaultRecipeReads) {
  Recipe recipe = read_recipe(VLM_SOURCE_DIR "/recipes/default.toml", {"output.folder=out"});
  std::vector<std::string> names;
  for (const StageRecipe& stage : recipe.stages) names.push_back(stage.name);
  EXPECT_EQ(names, (std::vector<std::string>{"see", "align", "shapes", "everything", "hard"}));
  EXPECT_EQ(recipe.stages[1].trains, std::vector<std::string>{"connector"});
  EXPECT_EQ(recipe.stages[3].trains, (std::vector<std::string>{"vision", "connector", "language"}));
}

}  // namespace
}  // namespace vlm
