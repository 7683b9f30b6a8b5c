// Which frames of a video a system looks at, and how they become pictures for its encoder.
#pragma once

#include <vector>

#include "media/video.h"

namespace vlm {

// numpy's linspace(0, total - 1, count) truncated to whole numbers: the first and the last frame among them;
// numbers repeat when the video is shorter.
std::vector<int64_t> spread_frames(int64_t total, int64_t count);
// The middles of min(count, total) segments of equal length.
std::vector<int64_t> middle_frames(int64_t total, int64_t count);

}  // namespace vlm
