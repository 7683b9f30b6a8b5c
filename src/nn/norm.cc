#include "nn/norm.h"

#include "ops/norm.h"

namespace vlm::nn {

Norm::Norm(const Weights& w, int64_t width, NormKind kind, double eps) : kind_(kind), eps_(eps) {
  bool has_old_names = !w.has("weight") && w.has("gamma");  // TensorFlow's, in BERT's first files
  weight_ = w.take(has_old_names ? "gamma" : "weight", {width});
  // Training changes the weight itself, so it is added to at every pass.
  if (kind == NormKind::rms_one_plus && !w.options().trainable && !w.is_abstract()) plus_one_ = weight_ + 1;
  if (kind == NormKind::layer) bias_ = w.take(has_old_names ? "beta" : "bias", {width});
}

Tensor Norm::operator()(const Tensor& x) const {
  switch (kind_) {
    case NormKind::layer:
    case NormKind::layer_no_bias:
      return ops::layer_norm(x, weight_, bias_, eps_);
    case NormKind::rms:
      return ops::rms_norm(x, weight_, eps_);
    case NormKind::rms_one_plus:
      return ops::rms_norm(x, plus_one_.defined() ? plus_one_ : weight_ + 1, eps_);
  }
  return x;
}

}  // namespace vlm::nn
