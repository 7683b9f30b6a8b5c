#include "weights/delta_source.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "weights/writer.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

class Deltas : public testing::Test {
 protected:
  Deltas() { fs::create_directories(folder_); }
  ~Deltas() override { fs::remove_all(folder_); }

  std::shared_ptr<const TensorSource> file(const char* name, const NamedTensors& tensors) {
    write_safetensors(folder_ / name, tensors);
    return open_safetensors(folder_ / name);
  }
  std::string message_of(const NamedTensors& delta, const NamedTensors& base) {
    try {
      delta_source(file("delta.safetensors", delta), file("base.safetensors", base));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_checkpoint);
      return error.what();
    }
    return "no error";
  }

  fs::path folder_ = fs::temp_directory_path() / "vlm_delta_test";
};

TEST_F(Deltas, AreAddedRowByRow) {
  Tensor base = at::arange(6, at::kFloat).reshape({3, 2}), more = at::full({4, 2}, 0.5f);
  auto sum =
      delta_source(file("delta.safetensors", {{"embed", more}, {"norm", at::ones({2})}, {"projector", more}}),
                   file("base.safetensors", {{"embed", base}, {"norm", at::full({2}, 2.0f)}}));
  Tensor embed = sum->load("embed");
  EXPECT_TRUE(at::equal(embed.slice(0, 0, 3), base + 0.5));
  EXPECT_TRUE(at::equal(embed.slice(0, 3), more.slice(0, 3)));  // a row the base does not have
  EXPECT_TRUE(at::equal(sum->load("norm"), at::full({2}, 3.0f)));
  EXPECT_TRUE(at::equal(sum->load("projector"), more));
  EXPECT_EQ(sum->names().size(), 3u);
}

TEST_F(Deltas, KeepTheirElementType) {
  Tensor half = at::full({2, 2}, 0.1f).to(at::kHalf), base = at::full({2, 2}, 0.2f).to(at::kHalf);
  auto sum = delta_source(file("delta.safetensors", {{"w", half}}), file("base.safetensors", {{"w", base}}));
  EXPECT_EQ(sum->load("w").scalar_type(), at::kHalf);
  EXPECT_TRUE(at::equal(sum->load("w"), (half.to(at::kFloat) + base.to(at::kFloat)).to(at::kHalf)));
}

TEST_F(Deltas, AWrongBaseIsRefused) {
  Tensor matrix = at::ones({4, 2});
  EXPECT_NE(message_of({{"w", matrix}}, {{"w", at::ones({4, 3})}}).find("w is [4, 2] in the delta"),
            std::string::npos);
  EXPECT_NE(message_of({{"w", matrix}}, {{"w", at::ones({5, 2})}}).find("in its base"), std::string::npos);
  EXPECT_NE(message_of({{"w", matrix}}, {{"w", matrix}, {"layers.9.w", matrix}}).find("has layers.9.w"),
            std::string::npos);
}

}  // namespace
}  // namespace vlm
