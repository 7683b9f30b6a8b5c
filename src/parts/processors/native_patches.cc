#include "parts/processors/native_patches.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

namespace vlm {

namespace {

constexpr double kLargestAspectRatio = 200;
constexpr int64_t kBicubic = 3;  // Pillow's number

std::array<double, 3> channels(const Json& json, const char* key, std::array<double, 3> fallback) {
  std::vector<double> values = json.get(key, std::vector<double>{fallback.begin(), fallback.end()});
  if (values.size() != 3)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: {}: expected 3 numbers, found {}", json.path(), key, values.size());
  return {values[0], values[1], values[2]};
}

}  // namespace

Tensor PatchGrid::tensor() const {
  return at::tensor({time, rows, columns}, at::kLong).view({1, 3});
}

PatchGrid PatchGrid::from(const Tensor& grid_13) {
  std::vector<int64_t> sizes = to_ids(grid_13);
  VLM_CHECK(sizes.size() == 3, "a grid of {} sizes", sizes.size());
  return {sizes[0], sizes[1], sizes[2]};
}

NativePatches NativePatches::from(const Json& json) {
  std::string type = json.get("image_processor_type", "Qwen2VLImageProcessor");
  if (!type.starts_with("Qwen2VLImageProcessor"))
    fail(ErrorKind::unsupported, "known: Qwen2VLImageProcessor",
         "{}: image_processor_type \"{}\" is not implemented here", json.path(), type);
  NativePatches patches;
  patches.patch_size = json.integer("patch_size", 1, 1 << 10, 14);
  patches.temporal_patch_size = json.integer("temporal_patch_size", 1, 64, 2);
  patches.merge_size = json.integer("merge_size", 1, 64, 2);
  Json size = json.find("size");  // of newer files; the older keys win as in the reference
  constexpr int64_t kMost = int64_t{1} << 30;
  patches.min_pixels = json.integer("min_pixels", 1, kMost, size.get("shortest_edge", patches.min_pixels));
  patches.max_pixels = json.integer("max_pixels", 1, kMost, size.get("longest_edge", patches.max_pixels));
  if (int64_t code = json.get("resample", kBicubic); code != kBicubic)
    fail(ErrorKind::unsupported, "3 (bicubic) is what every published checkpoint uses",
         "{}: resample = {} is not implemented", json.path(), code);
  json.require("do_resize", true);
  patches.normaliser.rescale_factor =
      json.get("do_rescale", true) ? json.get("rescale_factor", 1.0 / 255.0) : 1.0;
  patches.normaliser.do_normalize = json.get("do_normalize", true);
  patches.normaliser.image_mean = channels(json, "image_mean", {0.48145466, 0.4578275, 0.40821073});
  patches.normaliser.image_std = channels(json, "image_std", {0.26862954, 0.26130258, 0.27577711});
  json.ignore({"processor_class", "do_convert_rgb", "default_to_square", "image_processor_type"});
  return patches;
}

std::array<int64_t, 2> NativePatches::resized(int64_t height, int64_t width, int64_t most_pixels) const {
  double tall = static_cast<double>(height), wide = static_cast<double>(width);
  double ratio = std::max(tall, wide) / std::min(tall, wide);
  if (ratio > kLargestAspectRatio)
    fail(ErrorKind::bad_request, "cut the picture into pieces",
         "a picture of {} x {} pixels is too narrow: the longer side may be {} times the shorter", width,
         height, kLargestAspectRatio);
  int64_t unit = patch_size * merge_size;
  auto in_units = [&](double side, double (*to_whole)(double)) {
    return static_cast<int64_t>(to_whole(side / static_cast<double>(unit))) * unit;
  };
  double (*half_to_even)(double) = std::nearbyint;
  double (*down)(double) = std::floor;
  double (*up)(double) = std::ceil;
  std::array<int64_t, 2> sides{in_units(tall, half_to_even), in_units(wide, half_to_even)};
  int64_t area = sides[0] * sides[1];
  if (area > most_pixels) {
    double shrink = std::sqrt(tall * wide / static_cast<double>(most_pixels));
    sides = {std::max(unit, in_units(tall / shrink, down)), std::max(unit, in_units(wide / shrink, down))};
  } else if (area < min_pixels) {
    double stretch = std::sqrt(static_cast<double>(min_pixels) / (tall * wide));
    sides = {in_units(tall * stretch, up), in_units(wide * stretch, up)};
  }
  return sides;
}

PatchRows NativePatches::image(const Image& image) const {
  auto [height, width] = resized(image.height, image.width, max_pixels);
  return cut({resize_pillow(image, height, width, Filter::bicubic)});
}

PatchRows NativePatches::video(const std::vector<Image>& frames, int64_t most_pixels) const {
  std::vector<Image> resized_frames;
  auto [height, width] = resized(frames.at(0).height, frames.at(0).width, most_pixels);
  for (const Image& frame : frames) {
    if (frame.height != frames[0].height || frame.width != frames[0].width)
      fail(ErrorKind::bad_request, "give frames of one size",
           "a video's frames are {} x {} and {} x {} pixels", frames[0].width, frames[0].height, frame.width,
           frame.height);
    resized_frames.push_back(resize_torch(frame, height, width, Filter::bicubic, /*antialias=*/true));
  }
  return cut(resized_frames);
}

PatchRows NativePatches::cut(const std::vector<Image>& frames) const {
  const PixelTable table = normaliser.pixel_table();
  const int64_t last = static_cast<int64_t>(frames.size()) - 1, side = patch_size,
                times = temporal_patch_size;
  const PatchGrid grid{(last + times) / times, frames[0].height / side, frames[0].width / side};
  const int64_t square = side * side, block_columns = grid.columns / merge_size;
  Tensor rows_PK = at::empty({grid.count(), 3 * times * square});
  float* rows = rows_PK.data_ptr<float>();
  // A row's values run over (channel, time, y, x).
  auto fill_row = [&](int64_t time, int64_t top, int64_t left, float* values) {
    for (int64_t channel = 0; channel < 3; ++channel)
      for (int64_t step = 0; step < times; ++step, values += square) {
        const int64_t frame = std::min(last, time * times + step);
        if (step > 0 && frame == std::min(last, time * times + step - 1)) {  // the last one is repeated
          std::copy_n(values - square, square, values);
          continue;
        }
        for (int64_t y = 0; y < side; ++y) {
          const uint8_t* pixel = frames[static_cast<size_t>(frame)].row(top + y) + left * 3 + channel;
          for (int64_t x = 0; x < side; ++x)
            values[y * side + x] = table[static_cast<size_t>(channel)][pixel[x * 3]];
        }
      }
  };
  parallel_for(0, grid.count(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t idx = begin; idx < end; ++idx) {
      // Rows run over (time, block row, block column, row, column).
      const int64_t merged = merge_size * merge_size, inner = idx % merged, block = idx / merged;
      const int64_t blocks = grid.rows / merge_size * block_columns, place = block % blocks;
      const int64_t row = place / block_columns * merge_size + inner / merge_size;
      const int64_t column = place % block_columns * merge_size + inner % merge_size;
      fill_row(block / blocks, row * side, column * side, rows + idx * 3 * times * square);
    }
  });
  return {rows_PK, grid};
}

}  // namespace vlm
