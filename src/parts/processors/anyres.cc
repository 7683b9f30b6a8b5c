#include "parts/processors/anyres.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace vlm {

namespace {

constexpr int64_t kMaxSide_px = 1 << 14;
constexpr size_t kMaxResolutions = 4096;

[[noreturn]] void fail_pinpoints(const Json& json, const std::string& reason) {
  fail(ErrorKind::bad_checkpoint, "compare config.json with the published one", "{}: {}", json.path(),
       reason);
}

// All whole numbers of a text, in order.
std::vector<int64_t> numbers_in(const std::string& text) {
  std::vector<int64_t> numbers;
  for (size_t at = 0; at < text.size();) {
    size_t begin = text.find_first_of("0123456789", at);
    if (begin == std::string::npos) break;
    at = std::min(text.find_first_not_of("0123456789", begin), text.size());
    numbers.push_back(at - begin > 6 ? kMaxSide_px + 1 : std::stoll(text.substr(begin, at - begin)));
  }
  return numbers;
}

std::vector<Resolution> pairs_of(const Json& json, int64_t tile_px) {
  std::vector<Resolution> pairs;
  if (json.is_string()) {
    std::string text = json.as<std::string>();
    std::vector<int64_t> numbers = numbers_in(text);
    if (numbers.size() < 2 || numbers.size() % 2 != 0)
      fail_pinpoints(json, "expected pairs of numbers, found " + json.dump());
    if (text.find('x') == std::string::npos) {
      for (size_t idx = 0; idx < numbers.size(); idx += 2) pairs.push_back({numbers[idx], numbers[idx + 1]});
      return pairs;
    }
    Resolution first{numbers[0], numbers[1]}, last{numbers[numbers.size() - 2], numbers.back()};
    if ((last[0] - first[0] + 1) * (last[1] - first[1] + 1) > static_cast<int64_t>(kMaxResolutions))
      fail_pinpoints(json, "more than 4096 resolutions");
    for (int64_t one = first[0]; one <= last[0]; ++one)
      for (int64_t two = first[1]; two <= last[1]; ++two) pairs.push_back({one * tile_px, two * tile_px});
    return pairs;
  }
  for (int64_t idx = 0; idx < json.size(); ++idx) {
    std::vector<int64_t> pair = json[idx].as<std::vector<int64_t>>();
    if (pair.size() != 2) fail_pinpoints(json, "expected pairs of sides, found " + json[idx].dump());
    pairs.push_back({pair[0], pair[1]});
  }
  return pairs;
}

// Python's round(value, 7): correctly rounded decimal digits.
double round_to_7(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.7f", value);
  return std::strtod(text, nullptr);
}

}  // namespace

std::vector<Resolution> read_resolutions(const Json& json, int64_t tile_px, AnyresStyle style) {
  std::vector<Resolution> resolutions = pairs_of(json, tile_px);
  if (resolutions.empty() || resolutions.size() > kMaxResolutions)
    fail_pinpoints(json, "expected 1 to 4096 resolutions, found " + std::to_string(resolutions.size()));
  for (Resolution& pair : resolutions) {
    for (int64_t side : pair)
      if (side < 1 || side > kMaxSide_px || side % tile_px != 0)
        fail_pinpoints(json, "a side of " + std::to_string(side) + " pixels is no multiple of the tiles' " +
                                 std::to_string(tile_px));
    if (style == AnyresStyle::authors) std::swap(pair[0], pair[1]);
  }
  return resolutions;
}

Resolution best_resolution(const Resolution& image, const std::vector<Resolution>& resolutions) {
  Resolution best{};
  int64_t most_kept = -1, least_wasted = 0;
  double height = static_cast<double>(image[0]), width = static_cast<double>(image[1]);
  for (const Resolution& resolution : resolutions) {
    double scale =
        std::min(static_cast<double>(resolution[1]) / width, static_cast<double>(resolution[0]) / height);
    int64_t kept = std::min(static_cast<int64_t>(width * scale) * static_cast<int64_t>(height * scale),
                            image[0] * image[1]);
    int64_t wasted = resolution[0] * resolution[1] - kept;
    if (kept > most_kept || (kept == most_kept && wasted < least_wasted))
      best = resolution, most_kept = kept, least_wasted = wasted;
  }
  return best;
}

Image fit_on_black(const Image& image, const Resolution& resolution, Filter filter) {
  auto [height, width] = resolution;
  double by_width = static_cast<double>(width) / static_cast<double>(image.width),
         by_height = static_cast<double>(height) / static_cast<double>(image.height);
  int64_t new_height = height, new_width = width;
  if (by_width < by_height)
    new_height =
        std::min(static_cast<int64_t>(std::ceil(static_cast<double>(image.height) * by_width)), height);
  else
    new_width =
        std::min(static_cast<int64_t>(std::ceil(static_cast<double>(image.width) * by_height)), width);
  return pad(resize_pillow(image, new_height, new_width, filter), height, width, (height - new_height) / 2,
             (width - new_width) / 2, {0, 0, 0});
}

std::vector<Image> cut_tiles(const Image& image, int64_t side_px) {
  std::vector<Image> tiles;
  for (int64_t top = 0; top < image.height; top += side_px)
    for (int64_t left = 0; left < image.width; left += side_px)
      tiles.push_back(crop(image, top, left, side_px, side_px));
  return tiles;
}

GridPart without_padding(const Resolution& image, int64_t rows, int64_t columns, AnyresStyle style) {
  double height = static_cast<double>(image[0]), width = static_cast<double>(image[1]);
  double grid_rows = static_cast<double>(rows), grid_columns = static_cast<double>(columns);
  auto truncated = [&](double side) {
    return static_cast<int64_t>(style == AnyresStyle::transformers ? round_to_7(side) : side);
  };
  if (width / height > grid_columns / grid_rows) {
    int64_t padding = (rows - truncated(height * (grid_columns / width))) / 2;
    return {padding, 0, rows - 2 * padding, columns};
  }
  int64_t padding = (columns - truncated(width * (grid_rows / height))) / 2;
  return {0, padding, rows, columns - 2 * padding};
}

}  // namespace vlm
