// What the converter did, undone; whole files are read by the cases block-*-gguf-a.
#include "weights/gguf_names.h"

#include <gtest/gtest.h>

#include <map>

namespace vlm {
namespace {

// A file of float32 tensors that count up from zero, with string and unsigned metadata.
class File {
 public:
  explicit File(std::string architecture) { texts_["general.architecture"] = std::move(architecture); }
  File& number(const std::string& key, uint32_t value) { return numbers_[key] = value, *this; }
  File& tensor(const std::string& name, Shape shape) { return shapes_[name] = std::move(shape), *this; }

  std::shared_ptr<const TensorSource> open() {
    bytes_ = "GGUF";
    put(uint32_t{3}), put(uint64_t{shapes_.size()}), put(uint64_t{texts_.size() + numbers_.size()});
    for (const auto& [key, value] : texts_) put(key), put(uint32_t{8}), put(value);
    for (const auto& [key, value] : numbers_) put(key), put(uint32_t{4}), put(value);
    std::vector<float> data;
    for (const auto& [name, shape] : shapes_) {
      put(name), put(static_cast<uint32_t>(shape.size()));
      size_t count = 1;
      for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
        put(static_cast<uint64_t>(*size));
        count *= static_cast<size_t>(*size);
      }
      put(uint32_t{0}), put(uint64_t{data.size() * sizeof(float)});
      for (size_t idx = 0; idx < count; ++idx) data.push_back(static_cast<float>(idx));
      data.resize((data.size() + 7) / 8 * 8);
    }
    bytes_.resize((bytes_.size() + 31) / 32 * 32);
    for (float value : data) put(value);
    auto owner = std::make_shared<const std::string>(bytes_);
    FileBytes file{std::as_bytes(std::span(*owner)), owner, "x.gguf"};
    return published_gguf(std::make_shared<const GgufFile>(std::move(file)));
  }

  std::string refusal() {
    try {
      open();
      return "";
    } catch (const Error& error) {
      return error.message();
    }
  }

 private:
  template <typename Number>
  void put(Number value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) { put(uint64_t{text.size()}), bytes_ += text; }

  std::map<std::string, std::string> texts_;
  std::map<std::string, uint32_t> numbers_;
  std::map<std::string, Shape> shapes_;
  std::string bytes_;
};

std::vector<float> values_of(const TensorSource& source, const std::string& name) {
  Tensor flat = source.load(name).contiguous().flatten();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}
using Values = std::vector<float>;

TEST(GgufNames, RotaryPairsBecomeHalves) {
  File file("llama");
  file.number("llama.attention.head_count", 2).number("llama.attention.head_count_kv", 1);
  auto source = file.tensor("blk.3.attn_q.weight", {8, 1}).tensor("blk.3.attn_k.weight", {4, 1}).open();
  EXPECT_EQ(values_of(*source, "model.layers.3.self_attn.q_proj.weight"), (Values{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(values_of(*source, "model.layers.3.self_attn.k_proj.weight"), (Values{0, 2, 1, 3}));
}

TEST(GgufNames, OtherFamiliesKeepTheirHalves) {
  auto source = File("qwen2").tensor("blk.0.attn_q.bias", {4}).tensor("output.weight", {2, 2}).open();
  EXPECT_EQ(values_of(*source, "model.layers.0.self_attn.q_proj.bias"), (Values{0, 1, 2, 3}));
  EXPECT_EQ(source->names(),
            (std::vector<std::string>{"lm_head.weight", "model.layers.0.self_attn.q_proj.bias"}));
}

TEST(GgufNames, GemmasNormsLoseTheOne) {
  auto source = File("gemma").tensor("output_norm.weight", {3}).tensor("blk.0.attn_norm.weight", {2}).open();
  EXPECT_EQ(values_of(*source, "model.norm.weight"), (Values{-1, 0, 1}));
  EXPECT_EQ(values_of(*source, "model.layers.0.input_layernorm.weight"), (Values{-1, 0}));
}

TEST(GgufNames, HeadsOfGptNeoxComeTogether) {
  File file("gptneox");
  auto source = file.number("gptneox.attention.head_count", 2).tensor("blk.0.attn_qkv.bias", {12}).open();
  EXPECT_EQ(values_of(*source, "gpt_neox.layers.0.attention.query_key_value.bias"),
            (Values{0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11}));
}

TEST(GgufNames, StacksAreCut) {
  File file("llama");
  auto source =
      file.tensor("blk.0.ffn_down_exps.weight", {2, 1, 2}).tensor("blk.0.ffn_gate.1.weight", {1, 2}).open();
  EXPECT_EQ(values_of(*source, "model.layers.0.block_sparse_moe.experts.1.w2.weight"), (Values{2, 3}));
  EXPECT_TRUE(source->has("model.layers.0.block_sparse_moe.experts.1.w1.weight"));
  auto phi = File("phi2").tensor("blk.1.attn_qkv.bias", {6}).open();
  EXPECT_EQ(values_of(*phi, "model.layers.1.self_attn.k_proj.bias"), (Values{2, 3}));
  auto norms = File("stablelm").tensor("blk.0.attn_k_norm.weight", {2, 2}).open();
  EXPECT_EQ(values_of(*norms, "model.layers.0.self_attn.k_layernorm.norms.1.weight"), (Values{2, 3}));
}

TEST(GgufNames, ShapesTellTheLayersOfATowersMlp) {
  for (bool is_old : {false, true}) {
    File file("clip");
    file.number("clip.vision.feed_forward_length", 3).number("clip.vision.embedding_length", 2);
    file.tensor(is_old ? "v.blk.0.ffn_down.weight" : "v.blk.0.ffn_up.weight", {3, 2});
    file.tensor(is_old ? "v.blk.0.ffn_up.weight" : "v.blk.0.ffn_down.weight", {2, 3});
    auto source = file.open();
    std::string layer = "model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.";
    EXPECT_EQ(source->info(layer + "fc1.weight").shape, (Shape{3, 2})) << is_old;
    EXPECT_EQ(source->info(layer + "fc2.weight").shape, (Shape{2, 3})) << is_old;
  }
}

TEST(GgufNames, WhatHasNoPlaceIsRefused) {
  EXPECT_NE(File("mamba").refusal().find("architecture \"mamba\" are not known"), std::string::npos);
  EXPECT_NE(
      File("llama").tensor("blk.0.ssm_in.weight", {2}).refusal().find("blk.0.ssm_in.weight is no tensor"),
      std::string::npos);
  File file("llama");
  file.number("llama.attention.head_count", 3).tensor("blk.0.attn_q.weight", {8, 1});
  EXPECT_NE(file.refusal().find("blk.0.attn_q.weight does not divide"), std::string::npos);
  File thirds("phi2");
  EXPECT_NE(thirds.tensor("blk.0.attn_qkv.bias", {4}).refusal().find("does not divide"), std::string::npos);
}

}  // namespace
}  // namespace vlm
