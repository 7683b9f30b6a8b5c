#pragma once

#include "ops/attention.h"

namespace vlm::ops {

// Attention whose gradients are computed without keeping any scores: memory grows with the tokens, not with
// their square. For float32 tensors whose rows have no gaps, with a positive scale, without softcap, slopes
// and bias.
bool has_fused_gradient(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                        const AttentionArgs& args);
Tensor attention_with_gradient(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                               const AttentionArgs& args);

}  // namespace vlm::ops
