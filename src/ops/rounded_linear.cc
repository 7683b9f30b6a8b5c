#include "ops/rounded_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include "kernels/factors.h"
#include "ops/choose.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::Factor factor_of(const Tensor& matrix) {
  const bool is_transposed = matrix.stride(1) != 1;
  return {matrix.data_ptr<float>(), matrix.stride(is_transposed ? 1 : 0), is_transposed};
}

// One row behind the other, or one column.
Tensor as_factor(const Tensor& matrix) {
  auto follow = [&](int64_t axis) {
    return matrix.stride(axis) == 1 && matrix.stride(1 - axis) >= matrix.size(axis);
  };
  return follow(1) || follow(0) ? matrix : matrix.contiguous();
}

Tensor rounded(const Tensor& tensor) {
  return tensor.to(at::kBFloat16).to(at::kFloat);
}

// The definition.
Tensor product_plain(const Tensor& a_MK, const Tensor& b_NK, const Tensor& bias_N) {
  return at::linear(rounded(a_MK), rounded(b_NK), bias_N);
}

// a . b^T + bias
Tensor product(const Tensor& a_MK, const Tensor& b_NK, const Tensor& bias_N = {}) {
  at::NoGradGuard no_grad;
  int64_t rows = a_MK.size(0), out = b_NK.size(0), in = a_MK.size(1);
  tally::Span span("products");
  if (span)
    span.add({.half_operations = 2.0 * static_cast<double>(rows) * static_cast<double>(out * in),
              .bytes = static_cast<double>(b_NK.nbytes())},
             fmt::format("{} x {} x {}", rows, in, out));
  if (!has_fast_bfloat16() || !use_kernel({a_MK, b_NK, bias_N}) || rows == 0 || out == 0 || in == 0)
    return product_plain(a_MK, b_NK, bias_N);
  Tensor y = empty_result({rows, out});
  Tensor a = as_factor(a_MK), b = as_factor(b_NK), bias = bias_N.defined() ? bias_N.contiguous() : bias_N;
  kernels::multiply_factors({factor_of(a), factor_of(b), y.data_ptr<float>(), out, rows, out, in,
                             bias.defined() ? bias.data_ptr<float>() : nullptr, true});
  return y;
}

class RoundedLinear : public torch::autograd::Function<RoundedLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x_RI, const Tensor& weight_OI,
                        const c10::optional<Tensor>& bias_O) {
    context->save_for_backward(
        {weight_OI.requires_grad() ? x_RI : Tensor(), x_RI.requires_grad() ? weight_OI : Tensor()});
    context->saved_data["has_bias"] = bias_O.has_value();
    return product(x_RI, weight_OI, bias_O.value_or(Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x_RI = saved[0], &weight_OI = saved[1], &dy_RO = gradients[0];
    variable_list result(3);
    if (context->needs_input_grad(0)) result[0] = product(dy_RO, weight_OI.t());
    if (context->needs_input_grad(1)) result[1] = product(dy_RO.t(), x_RI.t());
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) result[2] = dy_RO.sum(0);
    return result;
  }
};

}  // namespace

bool has_fast_bfloat16() {
  return kernels::multiplies_pairs();
}

Tensor rounded_linear(const Tensor& x, const Tensor& weight_OI, const Tensor& bias_O) {
  VLM_SHAPE(weight_OI, kAny, x.size(-1));
  if (bias_O.defined()) VLM_SHAPE(bias_O, weight_OI.size(0));
  Shape shape = x.sizes().vec();
  shape.back() = weight_OI.size(0);
  Tensor x_RI = x.reshape({c10::multiply_integers(x.sizes().begin(), x.sizes().end() - 1), x.size(-1)});
  auto bias = bias_O.defined() ? c10::optional<Tensor>(bias_O) : c10::nullopt;
  return RoundedLinear::apply(x_RI, weight_OI, bias).view(shape);
}

}  // namespace vlm::ops
