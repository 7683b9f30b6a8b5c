#include "parts/processors/video_frames.h"

#include <algorithm>
#include <cmath>

namespace vlm {

std::vector<int64_t> spread_frames(int64_t total, int64_t count) {
  std::vector<int64_t> frames;
  double step = count > 1 ? static_cast<double>(total - 1) / static_cast<double>(count - 1) : 0;
  for (int64_t idx = 0; idx < count; ++idx)
    frames.push_back(static_cast<int64_t>(static_cast<double>(idx) * step));
  if (count > 1) frames.back() = total - 1;  // numpy sets the end point itself
  return frames;
}

std::vector<int64_t> middle_frames(int64_t total, int64_t count) {
  count = std::min(count, total);
  double segment = static_cast<double>(total - 1) / static_cast<double>(count);
  // nearbyint: halves go to the even neighbour, as numpy rounds.
  auto edge = [&](int64_t idx) {
    return static_cast<int64_t>(std::nearbyint(segment * static_cast<double>(idx)));
  };
  std::vector<int64_t> frames;
  for (int64_t idx = 0; idx < count; ++idx) frames.push_back((edge(idx) + edge(idx + 1)) / 2);
  return frames;
}

}  // namespace vlm
