#include "ops/rope.h"

#include "kernels/rope.h"
#include "ops/choose.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

namespace {

// The definition.
Tensor rope_plain(const Tensor& x_TAE, const Tensor& cos_TR, const Tensor& sin_TR) {
  int64_t half = cos_TR.size(1);
  Tensor cos = cos_TR.unsqueeze(1);  // the same for every head
  Tensor sin = sin_TR.unsqueeze(1);
  Tensor first = x_TAE.narrow(2, 0, half);
  Tensor second = x_TAE.narrow(2, half, half);
  std::vector<Tensor> pieces{first * cos - second * sin, second * cos + first * sin};
  if (x_TAE.size(2) > 2 * half) pieces.push_back(x_TAE.narrow(2, 2 * half, x_TAE.size(2) - 2 * half));
  return at::cat(pieces, 2);
}

}  // namespace

Tensor rope(const Tensor& x_TAE, const Tensor& cos_TR, const Tensor& sin_TR) {
  tally::Span span("rope");
  VLM_SHAPE(sin_TR, x_TAE.size(0), cos_TR.size(1));
  VLM_SHAPE(cos_TR, x_TAE.size(0), sin_TR.size(1));
  VLM_CHECK(cos_TR.size(1) * 2 <= x_TAE.size(2), "{} angles for heads of {}", cos_TR.size(1), x_TAE.size(2));
  if (!use_kernel({x_TAE, cos_TR, sin_TR}) || x_TAE.stride(2) != 1) return rope_plain(x_TAE, cos_TR, sin_TR);
  Tensor cos = cos_TR.contiguous(), sin = sin_TR.contiguous();
  Tensor y = empty_result(x_TAE.sizes());
  kernels::rope({x_TAE.data_ptr<float>(), x_TAE.stride(0), x_TAE.stride(1), cos.data_ptr<float>(),
                 sin.data_ptr<float>(), y.data_ptr<float>(), x_TAE.size(0), x_TAE.size(1), x_TAE.size(2),
                 cos.size(1)});
  return y;
}

}  // namespace vlm::ops
