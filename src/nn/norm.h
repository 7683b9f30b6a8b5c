#pragma once

#include <string>

#include "weights/weights.h"

namespace vlm::nn {

enum class NormKind {
  layer,          // weight and bias
  layer_no_bias,  // weight only
  rms,            // x / rms(x) * weight
  rms_one_plus,   // x / rms(x) * (1 + weight), Gemma
};

// Normalisation over the last axis, of width `width`; tensors `weight` (and `bias`) below `w`.
class Norm {
 public:
  Norm() = default;
  Norm(const Weights& w, int64_t width, NormKind kind, double eps);
  Tensor operator()(const Tensor& x) const;
  bool defined() const { return weight_.defined(); }

 private:
  NormKind kind_ = NormKind::layer;
  double eps_ = 0;
  Tensor weight_, plus_one_;
  Tensor bias_;
};

}  // namespace vlm::nn
