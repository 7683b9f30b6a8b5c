// Normalisation over rows.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight. Rows of x are x_stride apart, y has no gaps.
void rms_norm(const float* x, int64_t x_stride, const float* weight, float eps, float* y, int64_t rows,
              int64_t width);
// y = (x - mean) / sqrt(variance + eps) * weight + bias; weight and bias may be null.
void layer_norm(const float* x, int64_t x_stride, const float* weight, const float* bias, float eps, float* y,
                int64_t rows, int64_t width);

}  // namespace vlm::kernels
