#include "parts/encoders/patches.h"

namespace vlm {

Tensor embed_patches(const Tensor& pixels_NCHW, const Tensor& weight_VCss, const Tensor& bias_V) {
  int64_t side = weight_VCss.size(2), pictures = pixels_NCHW.size(0), channels = weight_VCss.size(1);
  VLM_SHAPE(weight_VCss, kAny, channels, side, side);
  VLM_SHAPE(pixels_NCHW, kAny, channels, kAny, kAny);
  int64_t rows = pixels_NCHW.size(2) / side, columns = pixels_NCHW.size(3) / side;
  Tensor patches_NhwK = pixels_NCHW.narrow(2, 0, rows * side)
                            .narrow(3, 0, columns * side)
                            .reshape({pictures, channels, rows, side, columns, side})
                            .permute({0, 2, 4, 1, 3, 5})
                            .reshape({pictures * rows * columns, channels * side * side});
  return at::linear(patches_NhwK, weight_VCss.flatten(1), bias_V).view({pictures, rows, columns, -1});
}

}  // namespace vlm
