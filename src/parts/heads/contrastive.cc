#include "parts/heads/contrastive.h"

namespace vlm {

Tensor unit_rows(const Tensor& x_BD) {
  return x_BD / x_BD.norm(2, -1, true);
}

Tensor symmetric_cross_entropy(const Tensor& logits_BB) {
  Tensor match = at::arange(logits_BB.size(0), at::kLong);
  return (at::cross_entropy_loss(logits_BB, match) + at::cross_entropy_loss(logits_BB.t(), match)) / 2;
}

Tensor pairwise_sigmoid_loss(const Tensor& logits_BB) {
  Tensor sign = at::eye(logits_BB.size(0)) * 2 - 1;
  return -at::log_sigmoid(sign * logits_BB).sum() / logits_BB.size(0);
}

}  // namespace vlm
