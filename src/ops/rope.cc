#include "ops/rope.h"

namespace vlm::ops {

Tensor rope(const Tensor& x_TAE, const Tensor& cos_TR, const Tensor& sin_TR) {
  int64_t half = cos_TR.size(1);
  Tensor cos = cos_TR.unsqueeze(1);  // the same for every head
  Tensor sin = sin_TR.unsqueeze(1);
  Tensor first = x_TAE.narrow(2, 0, half);
  Tensor second = x_TAE.narrow(2, half, half);
  std::vector<Tensor> pieces{first * cos - second * sin, second * cos + first * sin};
  if (x_TAE.size(2) > 2 * half) pieces.push_back(x_TAE.narrow(2, 2 * half, x_TAE.size(2) - 2 * half));
  return at::cat(pieces, 2);
}

}  // namespace vlm::ops
