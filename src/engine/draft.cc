#include "engine/draft.h"

#include <algorithm>

namespace vlm {

namespace {

// A single id that stood before says little: a wrong guess costs more than the chance of a right one brings.
constexpr int64_t kShortest = 2;
constexpr int64_t kLongest = 4;

}  // namespace

std::vector<int64_t> draft_by_lookup(std::span<const int64_t> ids, int64_t count) {
  const auto length = static_cast<int64_t>(ids.size());
  if (count <= 0) return {};
  // The longest match, and of equal ones the latest.
  int64_t best = 0, behind = 0;
  for (int64_t end = length - 1; end >= kShortest && best < kLongest; --end) {
    int64_t matching = 0;
    while (matching < std::min(kLongest, end) &&
           ids[static_cast<size_t>(end - 1 - matching)] == ids[static_cast<size_t>(length - 1 - matching)])
      ++matching;
    if (matching > best) best = matching, behind = end;
  }
  if (best < kShortest) return {};
  auto begin = ids.begin() + behind;
  return {begin, begin + std::min(count, length - behind)};
}

}  // namespace vlm
