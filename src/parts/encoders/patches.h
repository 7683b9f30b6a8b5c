// Pictures cut into square patches.
#pragma once

#include "tensor/tensor.h"

namespace vlm {

// A convolution whose stride is its size, as one matrix product: pixels [N, C, H, W], weight [V, C, side,
// side], bias [V] or undefined -> [N, H / side, W / side, V]. What a border has less than a patch is dropped.
Tensor embed_patches(const Tensor& pixels_NCHW, const Tensor& weight_VCss, const Tensor& bias_V);

}  // namespace vlm
