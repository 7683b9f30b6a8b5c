#include "weights/packed_source.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "weights/weights.h"

namespace vlm {
namespace {

class MapSource final : public TensorSource {
 public:
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : tensors) all.push_back(name);
    return all;
  }
  bool has(const std::string& name) const override { return tensors.count(name) > 0; }
  TensorInfo info(const std::string& name) const override {
    const Tensor& tensor = tensors.at(name);
    return {tensor.sizes().vec(), tensor.scalar_type(), static_cast<int64_t>(tensor.nbytes())};
  }
  Tensor load(const std::string& name) const override { return tensors.at(name); }
  std::string describe() const override { return "packed"; }

  std::map<std::string, Tensor> tensors;
};

// One layer's values before they are packed: weight[i][o] = (quant[i][o] - zero[g][o]) * scale[g][o].
struct Plain {
  int64_t in, out, groups, bits;
  std::vector<int64_t> quants, zeros, group_of_input;
  Tensor scales;

  Plain(int64_t in_width, int64_t out_width, int64_t group, int64_t width)
      : in(in_width), out(out_width), groups((in_width + group - 1) / group), bits(width) {
    std::mt19937_64 random(7);
    auto draw = [&](int64_t count, int64_t low) {
      std::vector<int64_t> values;
      int64_t span = (int64_t{1} << bits) - low;
      for (int64_t idx = 0; idx < count; ++idx)
        values.push_back(low + static_cast<int64_t>(random() % static_cast<uint64_t>(span)));
      return values;
    };
    quants = draw(in * out, 0), zeros = draw(groups * out, 0);
    for (int64_t input = 0; input < in; ++input) group_of_input.push_back(input / group);
    scales = at::linspace(0.01, 0.07, groups * out).view({groups, out}).to(at::kHalf);
  }
  Tensor weight_OI() const {
    Tensor weight = at::empty({out, in});
    for (int64_t input = 0; input < in; ++input)
      for (int64_t output = 0; output < out; ++output) {
        int64_t at = group_of_input[static_cast<size_t>(input)] * out + output;
        double value = static_cast<double>(quants[static_cast<size_t>(input * out + output)] -
                                           zeros[static_cast<size_t>(at)]) *
                       scales.flatten()[at].item<double>();
        weight[output][input] = value;
      }
    return weight;
  }
};

// `place` says which of a word's values stands at bit position `slot`.
Tensor pack(const std::vector<int64_t>& values, int64_t rows, int64_t columns, int64_t bits, bool along_rows,
            const std::vector<int64_t>& place) {
  int64_t per_word = 32 / bits;
  Tensor words =
      at::zeros({along_rows ? rows / per_word : rows, along_rows ? columns : columns / per_word}, at::kInt);
  for (int64_t row = 0; row < words.size(0); ++row)
    for (int64_t column = 0; column < words.size(1); ++column) {
      uint32_t word = 0;
      for (int64_t slot = 0; slot < per_word; ++slot) {
        int64_t which = place[static_cast<size_t>(slot)];
        int64_t at = along_rows ? (row * per_word + which) * columns + column
                                : row * columns + column * per_word + which;
        word |= static_cast<uint32_t>(values[static_cast<size_t>(at)]) << (slot * bits);
      }
      words[row][column] = static_cast<int32_t>(word);
    }
  return words;
}

std::vector<int64_t> natural(int64_t bits) {
  std::vector<int64_t> places;
  for (int64_t idx = 0; idx < 32 / bits; ++idx) places.push_back(idx);
  return places;
}

std::shared_ptr<MapSource> gptq(const Plain& plain, int64_t zero_offset = 1) {
  auto source = std::make_shared<MapSource>();
  std::vector<int64_t> stored = plain.zeros;
  for (int64_t& zero : stored) zero = (zero - zero_offset) & ((int64_t{1} << plain.bits) - 1);
  source->tensors["a.qweight"] =
      pack(plain.quants, plain.in, plain.out, plain.bits, true, natural(plain.bits));
  source->tensors["a.qzeros"] = pack(stored, plain.groups, plain.out, plain.bits, false, natural(plain.bits));
  source->tensors["a.scales"] = plain.scales;
  source->tensors["a.g_idx"] = ids_tensor(plain.group_of_input).to(at::kInt);
  return source;
}

std::shared_ptr<MapSource> awq(const Plain& plain) {
  auto source = std::make_shared<MapSource>();
  std::vector<int64_t> order{0, 2, 4, 6, 1, 3, 5, 7};
  source->tensors["a.qweight"] = pack(plain.quants, plain.in, plain.out, 4, false, order);
  source->tensors["a.qzeros"] = pack(plain.zeros, plain.groups, plain.out, 4, false, order);
  source->tensors["a.scales"] = plain.scales;
  return source;
}

Json config(const std::string& text) {
  return Json::parse(text, "config.json");
}

void expect_weight(std::shared_ptr<const TensorSource> source, const Plain& plain, bool is_quantised) {
  Weights weights(source, {});
  auto taken = (weights / "a").take_quantised("weight", {plain.out, plain.in});
  ASSERT_EQ(taken.has_value(), is_quantised);
  Tensor found = taken ? dequantise(*taken) : (weights / "a").take("weight", {plain.out, plain.in});
  EXPECT_LE((found - plain.weight_OI()).abs().max().item<double>(), 1e-5);
  EXPECT_NO_THROW(weights.finish("test"));
}

TEST(PackedSource, ReadsGptqOfFourBits) {
  Plain plain(64, 24, 32, 4);
  auto source =
      unpack_source(gptq(plain), config(R"({"quant_method": "gptq", "bits": 4, "group_size": 32})"));
  EXPECT_EQ(source->names(), (std::vector<std::string>{"a.weight", "a.weight_min", "a.weight_scale"}));
  expect_weight(source, plain, true);
}

TEST(PackedSource, ReadsGptqOfEightBits) {
  Plain plain(64, 24, 32, 8);
  expect_weight(
      unpack_source(gptq(plain), config(R"({"quant_method": "gptq", "bits": 8, "group_size": 32})")), plain,
      true);
  std::fill(plain.zeros.begin(), plain.zeros.end(), 128);  // "sym": no minimums are needed
  auto source =
      unpack_source(gptq(plain), config(R"({"quant_method": "gptq", "bits": 8, "group_size": 32})"));
  EXPECT_FALSE(source->has("a.weight_min"));
  expect_weight(source, plain, true);
}

TEST(PackedSource, ReadsGptqsSecondFormat) {
  Plain plain(64, 24, 32, 4);
  expect_weight(unpack_source(gptq(plain, 0), config(R"({"quant_method": "gptq", "bits": 4, "group_size": 32,
                                                         "checkpoint_format": "gptq_v2"})")),
                plain, true);
}

TEST(PackedSource, SortsInputsQuantisedByActivation) {
  for (int64_t bits : {4, 8}) {
    Plain plain(64, 24, 32, bits);
    std::shuffle(plain.group_of_input.begin(), plain.group_of_input.end(), std::mt19937_64(3));
    auto source = unpack_source(gptq(plain), config(R"({"bits": )" + std::to_string(bits) +
                                                    R"(, "group_size": 32, "desc_act": true})"));
    EXPECT_TRUE(source->has("a.weight_order"));
    expect_weight(source, plain, true);
  }
}

TEST(PackedSource, ServesFloatsWhereGroupsDiffer) {
  Plain plain(48, 24, 32, 4);  // the second group has 16 inputs
  expect_weight(unpack_source(gptq(plain), config(R"({"bits": 4, "group_size": 32})")), plain, false);
  expect_weight(unpack_source(awq(plain), config(R"({"quant_method": "awq", "bits": 4, "group_size": 32})")),
                plain, false);
}

TEST(PackedSource, ReadsAwq) {
  Plain plain(64, 24, 32, 4);
  expect_weight(unpack_source(awq(plain), config(R"({"quant_method": "awq", "bits": 4, "group_size": 32,
                                                     "version": "GEMM", "zero_point": true})")),
                plain, true);
  Plain whole(64, 24, 64, 4);
  expect_weight(
      unpack_source(awq(whole), config(R"({"quant_method": "awq", "w_bit": 4, "q_group_size": -1})")), whole,
      true);
}

TEST(PackedSource, HidesBiasesOfZeros) {
  Plain plain(64, 24, 32, 4);
  auto file = gptq(plain);
  file->tensors["a.bias"] = at::zeros({24});
  auto source = unpack_source(file, config(R"({"bits": 4, "group_size": 32})"));
  expect_weight(source, plain, true);  // finish() would name it
  EXPECT_TRUE(source->has("a.bias"));  // a layer that has a bias takes it
  file->tensors["a.bias"] = at::ones({24});
  std::vector<std::string> names = unpack_source(file, config(R"({"bits": 4, "group_size": 32})"))->names();
  EXPECT_EQ(names.front(), "a.bias");
}

TEST(PackedSource, LeavesOtherFilesAlone) {
  auto file = std::make_shared<MapSource>();
  file->tensors["a.weight"] = at::ones({2, 2});
  EXPECT_EQ(unpack_source(file, Json()), file);
  EXPECT_EQ(unpack_source(file, config(R"({"quant_method": "vlm", "bits": 4})")), file);
  EXPECT_EQ(unpack_source(file, config(R"({"quant_method": "gptq", "bits": 4})")), file);
}

std::string refusal(std::shared_ptr<MapSource> file, const std::string& text) {
  try {
    unpack_source(file, config(text));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(PackedSource, RefusesWhatItDoesNotKnow) {
  Plain plain(64, 24, 32, 4);
  EXPECT_NE(refusal(gptq(plain), R"({"quant_method": "gptq", "bits": 3})").find("3 bits by gptq"),
            std::string::npos);
  EXPECT_NE(refusal(awq(plain), R"({"quant_method": "awq", "bits": 4, "version": "gemv"})").find("\"gemv\""),
            std::string::npos);
  EXPECT_NE(refusal(gptq(plain), R"({"bits": 4, "group_size": 16})").find("does not hold a matrix of 4 bits"),
            std::string::npos);
  auto file = gptq(plain);
  file->tensors["a.g_idx"][3] = 2;
  EXPECT_NE(refusal(file, R"({"bits": 4, "group_size": 32})").find("into 2 groups"), std::string::npos);
  file->tensors.erase("a.scales");
  EXPECT_NE(refusal(file, R"({"bits": 4, "group_size": 32})").find("has no a.scales"), std::string::npos);
}

}  // namespace
}  // namespace vlm
