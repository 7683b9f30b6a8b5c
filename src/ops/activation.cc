#include "ops/activation.h"

namespace vlm {

Act act_from(const std::string& word, const std::string& key) {
  if (word == "gelu") return Act::gelu_erf;
  if (word == "gelu_new" || word == "gelu_pytorch_tanh" || word == "gelu_fast" || word == "gelu_tanh")
    return Act::gelu_tanh;
  if (word == "quick_gelu") return Act::gelu_quick;
  if (word == "silu" || word == "swish") return Act::silu;
  if (word == "relu") return Act::relu;
  if (word == "tanh") return Act::tanh;
  if (word == "linear" || word == "identity") return Act::identity;
  fail(ErrorKind::unsupported,
       "known: gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, relu, tanh, linear",
       "{} = \"{}\" is not implemented", key, word);
}

namespace ops {

Tensor activate(const Tensor& x, Act act) {
  switch (act) {
    case Act::identity:
      return x;
    case Act::relu:
      return at::relu(x);
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

}  // namespace ops

}  // namespace vlm
