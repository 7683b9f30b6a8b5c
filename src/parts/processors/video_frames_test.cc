// Numbers of numpy's linspace and of apple/ml-slowfast-llava's get_seq_frames.
#include "parts/processors/video_frames.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

using Numbers = std::vector<int64_t>;

TEST(VideoFrames, SpreadFromFirstToLast) {
  EXPECT_EQ(spread_frames(100, 8), (Numbers{0, 14, 28, 42, 56, 70, 84, 99}));
  EXPECT_EQ(spread_frames(3, 5), (Numbers{0, 0, 1, 1, 2}));
  EXPECT_EQ(spread_frames(7, 1), (Numbers{0}));
  EXPECT_EQ(spread_frames(1, 3), (Numbers{0, 0, 0}));
}

TEST(VideoFrames, MiddlesOfSegments) {
  EXPECT_EQ(middle_frames(100, 10), (Numbers{5, 15, 25, 35, 45, 54, 64, 74, 84, 94}));
  EXPECT_EQ(middle_frames(12, 5), (Numbers{1, 3, 5, 8, 10}));
  EXPECT_EQ(middle_frames(3, 50), (Numbers{0, 1, 1}));
  EXPECT_EQ(middle_frames(1, 50), (Numbers{0}));
}

}  // namespace
}  // namespace vlm
