#pragma once

#include <string>

#include "tensor/tensor.h"

namespace vlm {

enum class Act { identity, relu, relu_squared, silu, tanh, gelu_erf, gelu_tanh, gelu_quick };

// The names that configs use: "gelu" (erf), "gelu_new" and "gelu_pytorch_tanh" (tanh), "quick_gelu", "silu",
// "swish", "relu", "relu2" (squared), ... Throws unsupported, naming `key`.
Act act_from(const std::string& word, const std::string& key);

namespace ops {
Tensor activate(const Tensor& x, Act act);
// activate(gate, act) * up, in one pass: the inner product of gated feed-forward layers.
Tensor gated(const Tensor& gate, const Tensor& up, Act act);
}  // namespace ops

}  // namespace vlm
