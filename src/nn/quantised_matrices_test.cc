#include "nn/quantised_matrices.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "weights/writer.h"

namespace vlm::nn {
namespace {

namespace fs = std::filesystem;

class Quantised : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("vlm-quantised-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    at::manual_seed(3);
    weights_ = {{"b.weight", at::randn({40, 64}).to(at::kBFloat16)}, {"a.weight", at::randn({16, 96})}};
    write_safetensors(folder_ / "model.safetensors", weights_);
    source_ = open_weights(folder_);
    place_ = {folder_ / "kept.packed", {7, 8}, {folder_.string(), "int4"}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Every matrix in both widths, as floats.
  std::vector<Tensor> fill(const PackedPlace& place) const {
    QuantisedMatrices matrices;
    std::vector<ops::Matrix> all;
    for (const auto& [name, weight] : weights_)
      for (int bits : {4, 8}) all.push_back(matrices.add(name, weight.size(0), weight.size(1), bits));
    matrices.fill(*source_, place);
    std::vector<Tensor> floats;
    for (const ops::Matrix& matrix : all) floats.push_back(ops::unpack_matrix(matrix));
    return floats;
  }

  fs::path folder_;
  NamedTensors weights_;
  std::shared_ptr<const TensorSource> source_;
  PackedPlace place_;
};

TEST_F(Quantised, MemoryFileAndMappingHoldTheSame) {
  std::vector<Tensor> at_once;
  for (const auto& [name, weight] : weights_)
    for (int bits : {4, 8}) at_once.push_back(ops::unpack_matrix(ops::quantise_matrix(weight, bits)));
  std::vector<Tensor> in_memory = fill({}), written = fill(place_);
  ASSERT_TRUE(fs::exists(place_.file));
  auto stamp = fs::last_write_time(place_.file);
  std::vector<Tensor> mapped = fill(place_);
  EXPECT_EQ(fs::last_write_time(place_.file), stamp);  // not made again
  for (size_t idx = 0; idx < at_once.size(); ++idx) {
    EXPECT_TRUE(at::equal(at_once[idx], in_memory[idx])) << idx;
    EXPECT_TRUE(at::equal(at_once[idx], written[idx])) << idx;
    EXPECT_TRUE(at::equal(at_once[idx], mapped[idx])) << idx;
  }
}

TEST_F(Quantised, AnotherKeyMakesTheFileAnew) {
  fill(place_);
  weights_[0].second = at::randn({40, 64}).to(at::kBFloat16);
  write_safetensors(folder_ / "model.safetensors", weights_);
  source_ = open_weights(folder_);
  place_.key = {9, 9};
  EXPECT_TRUE(at::equal(fill(place_)[0], ops::unpack_matrix(ops::quantise_matrix(weights_[0].second, 4))));
  EXPECT_TRUE(at::equal(fill(place_)[0], ops::unpack_matrix(ops::quantise_matrix(weights_[0].second, 4))));
}

TEST_F(Quantised, FilesThatLackAMatrixOrAreDamagedAreMadeAnew) {
  {
    QuantisedMatrices few;
    few.add("a.weight", 16, 96, 4);
    few.fill(*source_, place_);
  }
  auto small = fs::file_size(place_.file);
  std::vector<Tensor> wanted = fill({});
  EXPECT_TRUE(at::equal(fill(place_)[0], wanted[0]));
  EXPECT_GT(fs::file_size(place_.file), small);
  fs::resize_file(place_.file, small);
  EXPECT_TRUE(at::equal(fill(place_)[1], wanted[1]));
  EXPECT_GT(fs::file_size(place_.file), small);
}

TEST_F(Quantised, APlaceThatCannotBeWrittenDoesNoHarm) {
  place_.file = folder_ / "no" / "such" / "folder" / "kept.packed";
  EXPECT_TRUE(at::equal(fill(place_)[0], fill({})[0]));
}

TEST_F(Quantised, OneNameIsOneMatrix) {
  QuantisedMatrices matrices;
  ops::Matrix one = matrices.add("a.weight", 16, 96, 4), two = matrices.add("a.weight", 16, 96, 4);
  EXPECT_EQ(one.packed, two.packed);
}

}  // namespace
}  // namespace vlm::nn
