// preprocessor_config.json as a function from a picture to pixel values: CLIP's, SigLIP's and ViT's image
// processors.
//
//   Image --[pad to a square]--> --resize--> --centre crop--> 8-bit RGB --rescale, normalise--> float [3, H,
//   W]
#pragma once

#include <array>
#include <optional>

#include "base/json.h"
#include "media/image.h"
#include "tensor/tensor.h"

namespace vlm {

// What each byte of each channel becomes.
using PixelTable = std::array<std::array<float, 256>, 3>;

struct ImageProcessor {
  bool do_resize = true;
  std::optional<int64_t> shortest_edge;        // resize keeps the aspect ratio
  std::optional<std::array<int64_t, 2>> size;  // {height, width}: resize does not
  Filter resample = Filter::bicubic;
  std::optional<std::array<int64_t, 2>> crop_size;  // {height, width}; none: no crop
  bool crop_rounds_to_even = false;     // half a pixel, as torchvision; otherwise down, as transformers
  bool pad_to_square = false;           // with the mean colour, before everything else
  double rescale_factor = 1.0 / 255.0;  // 1 when do_rescale is false
  bool do_normalize = true;
  std::array<double, 3> image_mean{0.5, 0.5, 0.5};
  std::array<double, 3> image_std{0.5, 0.5, 0.5};

  // Throws unsupported for a processor type of another family, bad_checkpoint for absurd sizes.
  static ImageProcessor from(const Json& preprocessor_config);

  // The keys about filter, rescaling and normalisation, which processors with sizes of their own share.
  void read_values(const Json& preprocessor_config);

  Image geometry(const Image& image) const;       // the 8-bit steps
  PixelTable pixel_table() const;                 // rescale and normalise
  Tensor pixel_values(const Image& image) const;  // [3, H, W], only that
  Tensor operator()(const Image& image) const { return pixel_values(geometry(image)); }
};

}  // namespace vlm
