#include "parts/connectors/pixel_shuffle.h"

namespace vlm {

Tensor pixel_shuffle(const Tensor& x_NPV, int64_t rows, int64_t columns, int64_t factor) {
  VLM_SHAPE(x_NPV, kAny, rows * columns, kAny);
  VLM_CHECK(factor > 0 && rows % factor == 0 && columns % factor == 0, "{} x {} by {}", rows, columns,
            factor);
  int64_t num_images = x_NPV.size(0), width = x_NPV.size(2);
  return x_NPV.view({num_images, rows / factor, factor, columns / factor, factor, width})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({num_images, rows * columns / (factor * factor), factor * factor * width});
}

}  // namespace vlm
