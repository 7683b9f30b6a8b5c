#include "system/published_sizes.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = VLM_SOURCE_DIR;

TEST(PublishedSizes, FilesAreThoseOfTheManifests) {
  std::vector<PublishedSize> sizes = read_published_sizes(kSource / "manifests");
  constexpr char kHint[] = "write it anew: build/bin/published_sizes .";
  EXPECT_EQ(read_text(kSource / "docs" / "sizes.md"), sizes_page(sizes)) << kHint;
  EXPECT_EQ(read_text(kSource / "src" / "app" / "cli" / "sizes_table.cc"), sizes_table(sizes)) << kHint;
}

TEST(PublishedSizes, CountsWhatIsLoaded) {
  EXPECT_EQ(loaded_bytes("layers.0.fc1.weight", {64, 128}, Precision::f32), 64 * 128 * 4);
  EXPECT_EQ(loaded_bytes("layers.0.fc1.weight", {64, 128}, Precision::bf16), 64 * 128 * 2);
  EXPECT_EQ(loaded_bytes("layers.0.fc1.weight", {64, 128}, Precision::int8), 64 * (128 + 2));
  EXPECT_EQ(loaded_bytes("layers.0.fc1.weight", {64, 128}, Precision::int4), 64 * 128 * 5 / 8);
  EXPECT_EQ(loaded_bytes("layers.0.fc1.weight", {64, 100}, Precision::int4),
            64 * 100 * 4);  // not even of 8
  EXPECT_EQ(loaded_bytes("layers.0.fc2.weight", {60, 304}, Precision::int8), 64 * (384 + 2 * 2));
  EXPECT_EQ(loaded_bytes("embed_tokens.weight", {64, 128}, Precision::int4), 64 * 128 * 2);
  EXPECT_EQ(loaded_bytes("norm.weight", {128}, Precision::int4), 128 * 4);
}

TEST(PublishedSizes, PackedFilesCountTheirMatricesAsTheyWere) {
  for (const PublishedSize& size : read_published_sizes(kSource / "manifests" / "qwen2-vl")) {
    if (size.checkpoint.find("7B") == std::string::npos) continue;
    EXPECT_EQ(size.parameters, 8291375616) << size.checkpoint;
    // GPTQ's manifests do not tell biases of zeros from those that count.
    double f32 = static_cast<double>(size.parameters) * 4;
    EXPECT_NEAR(static_cast<double>(size.loaded[0]), f32, 1e-4 * f32) << size.checkpoint;
    bool is_packed =
        size.checkpoint.find("AWQ") != std::string::npos || size.checkpoint.find("GPTQ") != std::string::npos;
    EXPECT_EQ(size.stored_bytes < size.parameters, is_packed) << size.checkpoint;
  }
}

}  // namespace
}  // namespace vlm
