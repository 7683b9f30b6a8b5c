#include "ops/activation.h"

#include "ops/choose.h"
#include "ops/function.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm {

Act act_from(const std::string& word, const std::string& key) {
  if (word == "gelu") return Act::gelu_erf;
  if (word == "gelu_new" || word == "gelu_pytorch_tanh" || word == "gelu_fast" || word == "gelu_tanh")
    return Act::gelu_tanh;
  if (word == "quick_gelu") return Act::gelu_quick;
  if (word == "silu" || word == "swish") return Act::silu;
  if (word == "relu") return Act::relu;
  if (word == "relu2") return Act::relu_squared;
  if (word == "tanh") return Act::tanh;
  if (word == "linear" || word == "identity") return Act::identity;
  fail(ErrorKind::unsupported,
       "known: gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, relu, relu2, tanh, linear",
       "{} = \"{}\" is not implemented", key, word);
}

namespace ops {

namespace {

// The definition.
Tensor activate_plain(const Tensor& x, Act act) {
  switch (act) {
    case Act::identity:
      return x;
    case Act::relu:
      return at::relu(x);
    case Act::relu_squared:
      return at::relu(x).square();
    case Act::silu:
      return at::silu(x);
    case Act::tanh:
      return at::tanh(x);
    case Act::gelu_erf:
      return at::gelu(x);
    case Act::gelu_tanh:
      return at::gelu(x, "tanh");
    case Act::gelu_quick:
      return x * at::sigmoid(x * 1.702);
  }
  return x;
}

// Halves of a fused projection are rows with gaps.
bool has_rows(const Tensor& x) {
  return x.is_contiguous() || (x.dim() == 2 && x.stride(1) == 1);
}
int64_t row_stride(const Tensor& x) {
  return x.is_contiguous() ? x.size(-1) : x.stride(0);
}

Tensor apply(const Tensor& x, const Tensor& factor, Act act) {
  Tensor y = empty_result(x.sizes());
  int64_t width = x.size(-1);
  kernels::apply({function_of(act), x.data_ptr<float>(), row_stride(x),
                  factor.defined() ? factor.data_ptr<float>() : nullptr,
                  factor.defined() ? row_stride(factor) : 0, y.data_ptr<float>(), width, x.numel() / width,
                  width});
  return y;
}

}  // namespace

Tensor activate(const Tensor& x, Act act) {
  tally::Span span("activations");
  if (act == Act::identity || !use_kernel({x}) || x.dim() == 0 || x.numel() == 0 || !has_rows(x))
    return activate_plain(x, act);
  return apply(x, Tensor(), act);
}

Tensor gated(const Tensor& gate, const Tensor& up, Act act) {
  tally::Span span("activations");
  if (!use_kernel({gate, up}) || gate.dim() == 0 || gate.numel() == 0 || gate.sizes() != up.sizes() ||
      !has_rows(gate) || !has_rows(up))
    return activate_plain(gate, act) * up;
  return apply(gate, up, act);
}

}  // namespace ops

}  // namespace vlm
