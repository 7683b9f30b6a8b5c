// What dual encoders end in: unit vectors and the losses over a square of similarities, matching pairs on the
// diagonal.
#pragma once

#include "tensor/tensor.h"

namespace vlm {

Tensor unit_rows(const Tensor& x_BD);  // L2-normalised over the last axis
// Mean of image-to-text and text-to-image cross entropy (CLIP, section 2.3).
Tensor symmetric_cross_entropy(const Tensor& logits_BB);
// -sum of log sigmoid(+-logit) over all pairs, divided by the number of texts (SigLIP, equation 1).
Tensor pairwise_sigmoid_loss(const Tensor& logits_BB);

}  // namespace vlm
