#include "weights/source.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

class Source : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("vlm-source-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A file with one byte tensor of the given name and value.
  void write_shard(const std::string& file, const std::string& tensor, char value = 1) {
    std::string header = R"({")" + tensor + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
    uint64_t length = header.size();
    write_text(folder_ / file, std::string(reinterpret_cast<const char*>(&length), 8) + header + value);
  }
  Error refusal(const fs::path& path) {
    try {
      open_weights(path);
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::internal, "", "");
  }

  fs::path folder_;
};

TEST_F(Source, ReadsOneFileAndPrefersSafetensors) {
  write_shard("model.safetensors", "a");
  write_text(folder_ / "pytorch_model.bin", "never looked at");
  write_text(folder_ / "training_args.bin", "never looked at");
  auto source = open_weights(folder_);
  EXPECT_EQ(source->names(), std::vector<std::string>{"a"});
  EXPECT_EQ(source->describe(), "model.safetensors");
  EXPECT_FALSE(source->invents_names());
  EXPECT_EQ(open_weights(folder_ / "model.safetensors")->load("a").item<int64_t>(), 1);
}

TEST_F(Source, ReadsShards) {
  write_shard("model-00001-of-00002.safetensors", "b", 3);
  write_shard("model-00002-of-00002.safetensors", "a", 5);
  auto without_index = open_weights(folder_);
  EXPECT_EQ(without_index->names(), (std::vector<std::string>{"a", "b"}));
  write_text(folder_ / "model.safetensors.index.json",
             R"({"metadata":{},"weight_map":{"a":"model-00002-of-00002.safetensors",)"
             R"("b":"model-00001-of-00002.safetensors"}})");
  auto source = open_weights(folder_);
  EXPECT_EQ(source->load("a").item<int64_t>(), 5);
  EXPECT_EQ(source->load("b").item<int64_t>(), 3);
  EXPECT_EQ(source->describe(), "model-00001-of-00002.safetensors and 1 more");
  EXPECT_THROW(source->load("c"), Error);

  write_text(folder_ / "model.safetensors.index.json",
             R"({"weight_map":{"c":"model-00002-of-00002.safetensors"}})");
  EXPECT_NE(refusal(folder_).message().find(
                "1 of 1 tensors are not in the shard that the index names: c (model-00002"),
            std::string::npos);
}

TEST_F(Source, ListsMissingShards) {
  write_shard("model-00001-of-00002.safetensors", "a");
  EXPECT_NE(refusal(folder_).message().find("1 of 2 shards are there: model-00001-of-00002.safetensors"),
            std::string::npos)
      << refusal(folder_).message();
  write_text(
      folder_ / "model.safetensors.index.json",
      R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  Error error = refusal(folder_);
  EXPECT_EQ(error.kind(), ErrorKind::bad_checkpoint);
  EXPECT_NE(error.message().find("1 of 2 shards are missing: model-00002-of-00002.safetensors"),
            std::string::npos);
  EXPECT_EQ(error.hint(), "download the missing files into " + folder_.string());
}

TEST_F(Source, RefusesShardsElsewhere) {
  for (const char* shard :
       {"../x.safetensors", "/etc/passwd", "..", "", "a\\\\b", "model.safetensors.index.json"}) {
    write_text(folder_ / "model.safetensors.index.json",
               std::string(R"({"weight_map":{"a":")") + shard + R"("}})");
    EXPECT_NE(refusal(folder_).message().find("which is not a plain file name"), std::string::npos) << shard;
  }
}

TEST_F(Source, SaysWhatItCannotDecide) {
  Error error = refusal(folder_);
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  write_text(folder_ / "training_args.bin", "x");
  EXPECT_EQ(refusal(folder_).kind(), ErrorKind::not_found);
  write_shard("one.safetensors", "a");
  EXPECT_EQ(open_weights(folder_)->describe(), "one.safetensors");
  write_shard("two.safetensors", "a");
  EXPECT_NE(
      refusal(folder_).message().find(
          "2 safetensors files and none of them is model.safetensors: one.safetensors, two.safetensors"),
      std::string::npos);
  EXPECT_EQ(refusal(folder_ / "absent").kind(), ErrorKind::not_found);
  write_text(folder_ / "notes.txt", "x");
  EXPECT_EQ(refusal(folder_ / "notes.txt").kind(), ErrorKind::unsupported);
  write_text(folder_ / "model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_NE(refusal(folder_).message().find("is a Git LFS pointer"), std::string::npos);
}

TEST_F(Source, MakesUpValuesThatDependOnSeedNameAndShape) {
  auto source = random_source(7);
  EXPECT_TRUE(source->invents_names());
  EXPECT_TRUE(source->has("anything"));
  Tensor weight = source->load_shaped("layers.0.q_proj.weight", {256, 64});
  EXPECT_TRUE(weight.equal(random_source(7)->load_shaped("layers.0.q_proj.weight", {256, 64})));
  EXPECT_FALSE(weight.equal(random_source(8)->load_shaped("layers.0.q_proj.weight", {256, 64})));
  EXPECT_FALSE(weight.equal(source->load_shaped("layers.1.q_proj.weight", {256, 64})));
  EXPECT_FALSE(weight.flatten().equal(source->load_shaped("layers.0.q_proj.weight", {64, 256}).flatten()));
  EXPECT_NEAR(weight.std().item<double>(), 0.125, 0.005);
  EXPECT_NEAR(weight.mean().item<double>(), 0.0, 0.005);
}

TEST_F(Source, NeverMakesUpDegenerateValues) {
  auto source = random_source(1);
  Tensor norm = source->load_shaped("layers.0.input_layernorm.weight", {1000});
  EXPECT_NEAR(norm.mean().item<double>(), 1.0, 0.02);
  EXPECT_GT(norm.std().item<double>(), 0.05);
  EXPECT_GT(norm.min().item<double>(), 0.5);
  EXPECT_GT(source->load_shaped("layers.0.fc.bias", {1000}).abs().max().item<double>(), 0.02);
  EXPECT_GT(source->load_shaped("bn.running_var", {100000}).min().item<double>(), 0.5);
  EXPECT_GT(source->load_shaped("layers.0.attn_gate", {1}).item<double>(), 0.2);
  EXPECT_GT(source->load_shaped("logit_scale", {}).item<double>(), 1.0);
}

TEST_F(Source, ReadsShapesWithoutValues) {
  write_text(folder_ / "m.json", R"({"tensors":{"b":["BF16",[1000000,1000000]],"a":["I64",[1,577]]}})");
  auto source = shapes_source(folder_ / "m.json");
  EXPECT_EQ(source->names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(describe(source->load("b")), "bfloat16 [1000000, 1000000]");
  EXPECT_EQ(source->load("b").storage().nbytes(), 2u);
  EXPECT_EQ(source->info("a").file_bytes, 577 * 8);
  EXPECT_THROW(source->info("c"), Error);
  write_text(folder_ / "m.json.gz", "\x1f\x8b damaged");
  EXPECT_THROW(shapes_source(folder_ / "m.json.gz"), Error);
}

}  // namespace
}  // namespace vlm
