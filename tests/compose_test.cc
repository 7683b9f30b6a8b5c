// Models joined by config alone: built, trained from a recipe, asked.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "engine/decode.h"
#include "train/compose.h"
#include "train/train.h"
#include "weights/source.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = VLM_SOURCE_DIR "/tests/cases";

class Compose : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / ("vlm_compose_" + std::string(info->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write_config(const std::string& tower, const std::string& connector,
                        const std::string& language = "block-phi-a") {
    std::string text = fmt::format(
        "name = \"tiny\"\n[vision]\ncheckpoint = \"{0}/{1}/checkpoint\"\n[connector]\n{2}\n"
        "[language]\ncheckpoint = \"{0}/{3}/checkpoint\"\n",
        kCases.string(), tower, connector, language);
    write_text(folder_ / "compose.toml", text);
    return folder_ / "compose.toml";
  }
  std::string refusal(const fs::path& config) {
    try {
      compose_checkpoint(config, folder_ / "refused");
    } catch (const Error& error) {
      return std::string(error.what()) + " | " + error.hint();
    }
    return "";
  }
  static Request question() {
    Request request;
    request.images.push_back(read_image(kCases / "siglip-a/media/a.png"));
    request.messages.push_back(
        {"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, "Name the shape."}}});
    return request;
  }

  fs::path folder_;
};

TEST_F(Compose, SiglipPerceiverAndPhiLearnAndAnswer) {
  fs::path made = folder_ / "made";
  ComposeResult result = compose_checkpoint(
      write_config("siglip-a", "type = \"perceiver\"\ntokens = 5\nlayers = 2\nheads = 4"), made);
  EXPECT_GT(result.fresh_parameters, 0);
  EXPECT_GT(result.parameters, result.fresh_parameters);
  // The parts' own weights, bit for bit.
  auto whole = open_weights(made), tower = open_weights(kCases / "siglip-a/checkpoint"),
       language = open_weights(kCases / "block-phi-a/checkpoint");
  EXPECT_TRUE(at::equal(whole->load("vision_tower.encoder.layers.0.mlp.fc1.weight"),
                        tower->load("vision_model.encoder.layers.0.mlp.fc1.weight")));
  EXPECT_TRUE(at::equal(whole->load("language_model.lm_head.weight"), language->load("lm_head.weight")));

  std::string list = "[";
  for (int at = 0; at < 4; ++at)
    list += fmt::format(
        R"({}{{"image": "a.png", "conversations": [{{"from": "human", "value": "<image>\nName the shape."}},
            {{"from": "gpt", "value": "A box."}}]}})",
        at ? "," : "");
  write_text(folder_ / "list.json", list + "]");
  write_text(
      folder_ / "recipe.toml",
      fmt::format("name = \"tiny\"\n[model]\nfolder = \"made\"\n[data]\nsource = \"list.json\"\nimages = "
                  "\"{}/siglip-a/media\"\n[output]\nfolder = \"trained\"\n"
                  "[[stage]]\nname = \"align\"\ntrains = [\"connector\"]\nsteps = 10\nbatch = 2\nlr = 5e-3\n"
                  "[[stage]]\nname = \"all\"\nsteps = 40\nbatch = 2\nlr = 5e-3\n",
                  kCases.string()));
  TrainResult trained = run_recipe(read_recipe(folder_ / "recipe.toml"));
  ASSERT_TRUE(trained.finished);
  EXPECT_LT(trained.loss, 1.0);  // it begins near 6

  at::NoGradGuard no_grad;
  LoadedModel loaded = bind_model(Checkpoint::open(folder_ / "trained"), {});
  EXPECT_STREQ(loaded.system->slug, "compose");
  const auto* generator = as<Generator>(*loaded.model);
  Prompt prompt = generator->prepare(question());
  EXPECT_EQ(std::count(prompt.ids.begin(), prompt.ids.end(), -200), 5);
  Memory memory;
  DecodeOptions options;
  options.max_new_tokens = 8;
  options.eos_ids = generator->eos_ids();
  std::string answer =
      loaded.checkpoint.tokens().decode(decode(*generator, prompt, memory, nullptr, options).ids);
  EXPECT_NE(answer.find("A box."), std::string::npos) << answer;
}

TEST_F(Compose, EveryConnectorJoinsEveryTower) {
  struct Pictured {
    const char* tower;
    int64_t side;  // patches
  };
  for (const Pictured& pictured : {Pictured{"siglip-a", 3}, Pictured{"clip-a", 4}, Pictured{"vit-a", 3}}) {
    int64_t patches = pictured.side * pictured.side;
    std::map<std::string, int64_t> rows_of{
        {"type = \"linear\"", patches},
        {"type = \"mlp\"\nlayers = 3", patches},
        {fmt::format("type = \"pixel_shuffle\"\nfactor = {}", pictured.side), 1},
        {"type = \"perceiver\"\ntokens = 7\nheads = 2", 7},
        {"type = \"qformer\"\ntokens = 6\nhidden_size = 24\nintermediate_size = 48\nnum_hidden_layers = 2\n"
         "num_attention_heads = 2",
         6}};
    for (const auto& [connector, num_rows] : rows_of) {
      compose_checkpoint(write_config(pictured.tower, connector, "block-qwen2-a"), folder_ / "made");
      at::NoGradGuard no_grad;
      LoadedModel loaded = bind_model(Checkpoint::open(folder_ / "made"), {});
      const auto* generator = as<Generator>(*loaded.model);
      Prompt prompt = generator->prepare(question());
      Tensor rows = generator->encode(prompt.media.at(0));
      EXPECT_EQ(rows.size(0), num_rows) << pictured.tower << ": " << connector;
      EXPECT_EQ(prompt.media[0].rows, num_rows);
      Sequence sequence;
      Tensor logits = generator->prefill(prompt, {rows}, sequence, false);
      EXPECT_TRUE(logits.isfinite().all().item<bool>());
      fs::remove_all(folder_ / "made");
    }
  }
}

// Towers whose features are as many as the picture is large, taken out of whole systems.
TEST_F(Compose, TowersOfAnySizeAreJoined) {
  for (const char* system : {"qwen2-vl-a", "florence-2-od-a"})
    for (const char* connector : {"type = \"mlp\"", "type = \"perceiver\"\ntokens = 3\nheads = 1"}) {
      compose_checkpoint(write_config(system, connector), folder_ / "made");
      at::NoGradGuard no_grad;
      LoadedModel loaded = bind_model(Checkpoint::open(folder_ / "made"), {});
      const auto* generator = as<Generator>(*loaded.model);
      Prompt prompt = generator->prepare(question());
      Tensor rows = generator->encode(prompt.media.at(0));
      EXPECT_EQ(rows.size(0), prompt.media[0].rows) << system << ": " << connector;
      EXPECT_GT(rows.size(0), 1);
      fs::remove_all(folder_ / "made");
    }
}

// SAM's tower from a config alone, and a language model whose weights are left aside.
TEST_F(Compose, PartsMayBeginFromNothing) {
  fs::create_directories(folder_ / "sam");
  write_text(
      folder_ / "sam/config.json",
      R"({"model_type": "sam", "vision_config": {"hidden_size": 16, "num_hidden_layers": 2, "mlp_dim": 32,
                 "num_attention_heads": 2, "image_size": 48, "patch_size": 8, "window_size": 4, "output_channels": 12,
                 "global_attn_indexes": [1]}})");
  write_text(folder_ / "sam/preprocessor_config.json",
             R"({"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 48}})");
  write_text(folder_ / "compose.toml",
             fmt::format("[vision]\nconfig = \"sam\"\n[connector]\ntype = \"pixel_shuffle\"\n"
                         "[language]\nconfig = \"{}/block-phi-a/checkpoint\"\n",
                         kCases.string()));
  ComposeResult result = compose_checkpoint(folder_ / "compose.toml", folder_ / "made", 7);
  EXPECT_EQ(result.fresh_parameters, result.parameters);
  at::NoGradGuard no_grad;
  LoadedModel loaded = bind_model(Checkpoint::open(folder_ / "made"), {});
  const auto* generator = as<Generator>(*loaded.model);
  Prompt prompt = generator->prepare(question());
  EXPECT_EQ(prompt.media.at(0).pixel_values.sizes(), at::IntArrayRef({1, 3, 48, 48}));
  EXPECT_EQ(generator->encode(prompt.media[0]).size(0), 9);
}

TEST_F(Compose, SaysWhatIsWrong) {
  EXPECT_NE(refusal(write_config("siglip-a", "type = \"resampler\""))
                .find("known: linear, mlp, pixel_shuffle, perceiver, qformer"),
            std::string::npos);
  EXPECT_NE(refusal(write_config("siglip-a", "type = \"mlp\"\nlayres = 2")).find("layres"),
            std::string::npos);
  EXPECT_NE(refusal(write_config("block-phi-a", "type = \"mlp\"")).find("not a tower that can be composed"),
            std::string::npos);
  EXPECT_NE(refusal(write_config("siglip-a", "type = \"perceiver\"\nheads = 5")).find("5 heads"),
            std::string::npos);
  EXPECT_NE(refusal(write_config("no-such-case", "type = \"mlp\"")).find("no-such-case"), std::string::npos);
  write_text(folder_ / "bad.toml", "[vision\n");
  EXPECT_NE(refusal(folder_ / "bad.toml").find("line 1"), std::string::npos);
}

}  // namespace
}  // namespace vlm
