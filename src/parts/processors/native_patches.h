// Pictures and videos at their own size as rows of patches: Qwen2-VL's image and video processors.
//
//   Image or frames --resize to multiples of a merge block--> 8-bit RGB --normalise, cut--> rows [t * h * w,
//   C * 2 * 14 * 14]
//
// The patches of a merge block are neighbours: rows run over (time, block row, block column, row, column); a
// row's values over (channel, time, y, x).
#pragma once

#include <array>
#include <vector>

#include "base/json.h"
#include "media/image.h"
#include "parts/processors/image_processor.h"

namespace vlm {

struct PatchGrid {
  int64_t time = 1, rows = 1, columns = 1;  // in patches
  int64_t count() const { return time * rows * columns; }
  Tensor tensor() const;  // int64 [1, 3]
  static PatchGrid from(const Tensor& grid_13);
};

struct PatchRows {
  Tensor rows_PK;
  PatchGrid grid;
};

struct NativePatches {
  int64_t patch_size = 14;
  int64_t temporal_patch_size = 2;
  int64_t merge_size = 2;
  int64_t min_pixels = 56 * 56;
  int64_t max_pixels = 28 * 28 * 1280;
  ImageProcessor normaliser;

  static NativePatches from(const Json& preprocessor_config);

  // {height, width} of the resized picture: multiples of patch_size * merge_size between both limits.
  std::array<int64_t, 2> resized(int64_t height, int64_t width, int64_t most_pixels) const;
  // One picture: repeated to fill the patch's time; resized as Pillow does.
  PatchRows image(const Image& image) const;
  // Frames of one size; the last is repeated to fill the patch's time; resized as torchvision does.
  PatchRows video(const std::vector<Image>& frames, int64_t most_pixels) const;

 private:
  PatchRows cut(const std::vector<Image>& frames) const;
};

}  // namespace vlm
