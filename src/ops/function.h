// Activations as kernels know them.
#pragma once

#include "kernels/elementwise.h"
#include "ops/activation.h"

namespace vlm::ops {

inline kernels::Function function_of(Act act) {
  switch (act) {
    case Act::identity:
      return kernels::Function::identity;
    case Act::relu:
      return kernels::Function::relu;
    case Act::relu_squared:
      return kernels::Function::relu_squared;
    case Act::silu:
      return kernels::Function::silu;
    case Act::tanh:
      return kernels::Function::tanh;
    case Act::gelu_erf:
      return kernels::Function::gelu_erf;
    case Act::gelu_tanh:
      return kernels::Function::gelu_tanh;
    case Act::gelu_quick:
      return kernels::Function::gelu_quick;
  }
  return kernels::Function::identity;
}

}  // namespace vlm::ops
