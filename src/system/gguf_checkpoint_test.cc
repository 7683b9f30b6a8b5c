#include "system/gguf_checkpoint.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;
const fs::path kCases = VLM_SOURCE_DIR "/tests/cases";

class GgufCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("vlm_gguf_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void add(const std::string& reference, const std::string& file, const std::string& as) {
    fs::copy_file(kCases / reference / "checkpoint" / file, folder_ / as);
  }
  std::string refusal() {
    try {
      open_gguf_checkpoint(folder_);
      return "";
    } catch (const Error& error) {
      return error.message();
    }
  }

  fs::path folder_;
};

TEST_F(GgufCheckpoint, AFileOrItsFolder) {
  fs::path file = kCases / "block-qwen2-gguf-a/checkpoint/model.gguf";
  EXPECT_TRUE(is_gguf_checkpoint(file));
  EXPECT_TRUE(is_gguf_checkpoint(file.parent_path()));
  EXPECT_FALSE(is_gguf_checkpoint(kCases / "block-qwen2-a/checkpoint"));
  EXPECT_FALSE(is_gguf_checkpoint(folder_));
  Checkpoint checkpoint = Checkpoint::open(file);
  EXPECT_EQ(checkpoint.name, "model");
  EXPECT_TRUE(checkpoint.has_architecture("Qwen2ForCausalLM"));
  EXPECT_EQ(checkpoint.config.get("rope_theta", 0.0), 1e6);
  EXPECT_TRUE(checkpoint.config.get("tie_word_embeddings", false));
  EXPECT_EQ(checkpoint.eos_ids(), std::vector<int64_t>{360});
  EXPECT_EQ(checkpoint.tokens().vocab_size(), 368);
}

TEST_F(GgufCheckpoint, LlamaThreesFrequenciesAreRecognised) {
  Checkpoint checkpoint = Checkpoint::open(kCases / "block-llama-gguf-a/checkpoint");
  Json scaling = checkpoint.config.at("rope_scaling");
  EXPECT_EQ(scaling.get("rope_type", ""), "llama3");
  EXPECT_NEAR(scaling.get("factor", 0.0), 8, 1e-3);
}

TEST_F(GgufCheckpoint, ATowerMakesItLlava) {
  Checkpoint checkpoint = Checkpoint::open(kCases / "llava-1.6-gguf-a/checkpoint");
  EXPECT_TRUE(checkpoint.has_architecture("LlavaLlamaForCausalLM"));
  EXPECT_EQ(checkpoint.config.get("image_aspect_ratio", ""), "anyres");
  ASSERT_TRUE(checkpoint.vision_tower);
  EXPECT_EQ(checkpoint.vision_tower->config.get("num_hidden_layers", int64_t{0}), 3);
  add("llava-1.5-gguf-a", "mmproj-model-f16.gguf", "mmproj.gguf");
  EXPECT_NE(refusal().find("a vision tower alone"), std::string::npos);
  add("block-phi-gguf-a", "model.gguf", "text.gguf");
  EXPECT_NE(refusal().find("of kind \"phi\" beside a tower"), std::string::npos);
}

TEST_F(GgufCheckpoint, TwoModelsInAFolderAreNamed) {
  add("block-phi-gguf-a", "model.gguf", "a.gguf");
  add("block-qwen2-gguf-a", "model.gguf", "b.gguf");
  std::string message = refusal();
  EXPECT_NE(message.find("a.gguf and b.gguf"), std::string::npos) << message;
}

}  // namespace
}  // namespace vlm
