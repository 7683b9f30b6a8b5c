#include "parts/processors/native_patches.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

using Sides = std::array<int64_t, 2>;

// Values of the reference's smart_resize.
TEST(NativePatches, SidesAreMultiplesWithinTheLimits) {
  NativePatches patches;
  patches.min_pixels = 56 * 56;
  auto sides = [&](int64_t height, int64_t width, int64_t most = 1003520) {
    return patches.resized(height, width, most);
  };
  EXPECT_EQ(sides(480, 640), (Sides{476, 644}));
  EXPECT_EQ(sides(42, 70), (Sides{56, 56}));  // 1.5 and 2.5 units go to the even one
  EXPECT_EQ(sides(14, 98), (Sides{28, 168}));
  EXPECT_EQ(sides(5, 7), (Sides{56, 84}));
  EXPECT_EQ(sides(3000, 4000), (Sides{840, 1148}));
  EXPECT_EQ(sides(3000, 4000, 12845056), (Sides{2996, 4004}));
  EXPECT_EQ(sides(1080, 1920), (Sides{728, 1316}));
  EXPECT_EQ(sides(10000, 60), (Sides{9996, 56}));
  EXPECT_THROW(sides(1, 201), Error);
}

// Each value tells where it comes from: the row's place, and within it channel, time, y, x.
TEST(NativePatches, BlocksLieTogether) {
  NativePatches patches;
  patches.patch_size = 2, patches.merge_size = 2, patches.min_pixels = 1;
  patches.normaliser.do_normalize = false, patches.normaliser.rescale_factor = 1;
  Image image = Image::filled(4, 8, {0, 0, 0});
  for (int64_t y = 0; y < 4; ++y)
    for (int64_t x = 0; x < 8; ++x) image.row(y)[x * 3] = static_cast<uint8_t>(10 * y + x);
  PatchRows cut = patches.image(image);
  EXPECT_EQ(to_ids(cut.grid.tensor()), (std::vector<int64_t>{1, 2, 4}));
  ASSERT_EQ(cut.rows_PK.sizes(), at::IntArrayRef({8, 3 * 2 * 2 * 2}));
  // The first values of the patches: blocks of 2 x 2 patches, row by row in each.
  EXPECT_EQ(to_floats(cut.rows_PK.select(1, 0)), (std::vector<float>{0, 2, 20, 22, 4, 6, 24, 26}));
  // The second patch: red at two equal times, then nothing.
  std::vector<float> row = to_floats(cut.rows_PK[1]);
  EXPECT_EQ((std::vector<float>(row.begin(), row.begin() + 8)),
            (std::vector<float>{2, 3, 12, 13, 2, 3, 12, 13}));
}

TEST(NativePatches, FramesMakePairs) {
  NativePatches patches;
  std::vector<Image> frames(3, Image::filled(56, 84, {10, 20, 30}));
  PatchRows cut = patches.video(frames, 1 << 20);
  EXPECT_EQ(cut.grid.time, 2);  // the last frame is repeated
  EXPECT_EQ(cut.grid.count(), 2 * 4 * 6);
  frames.push_back(Image::filled(28, 84, {0, 0, 0}));
  EXPECT_THROW(patches.video(frames, 1 << 20), Error);
}

}  // namespace
}  // namespace vlm
