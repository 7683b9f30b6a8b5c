#include "ops/norm.h"

#include "kernels/norm.h"
#include "ops/choose.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

namespace {

// The definitions.
Tensor layer_norm_plain(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
}
Tensor rms_norm_plain(const Tensor& x, const Tensor& weight, double eps) {
  return x * at::rsqrt(x.pow(2).mean(-1, true) + eps) * weight;
}

bool is_row_of(const Tensor& weight, int64_t width) {
  return !weight.defined() || (weight.dim() == 1 && weight.size(0) == width && weight.is_contiguous());
}

const float* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  tally::Span span("norms");
  int64_t width = x.size(-1);
  if (!use_kernel({x, weight, bias}) || !x.is_contiguous() || !is_row_of(weight, width) ||
      !is_row_of(bias, width) || width == 0)
    return layer_norm_plain(x, weight, bias, eps);
  Tensor y = empty_result(x.sizes());
  kernels::layer_norm(x.data_ptr<float>(), width, data_or_null(weight), data_or_null(bias),
                      static_cast<float>(eps), y.data_ptr<float>(), x.numel() / width, width);
  return y;
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  tally::Span span("norms");
  int64_t width = x.size(-1);
  // Heads of a projection are normalised where they lie: rows may have gaps, but equal ones.
  bool has_even_rows = x.is_contiguous() || (x.dim() == 2 && x.stride(1) == 1);
  if (!use_kernel({x, weight}) || !has_even_rows || !is_row_of(weight, width) || width == 0)
    return rms_norm_plain(x, weight, eps);
  Tensor y = empty_result(x.sizes());
  kernels::rms_norm(x.data_ptr<float>(), x.is_contiguous() ? width : x.stride(0), data_or_null(weight),
                    static_cast<float>(eps), y.data_ptr<float>(), x.numel() / width, width);
  return y;
}

}  // namespace vlm::ops
