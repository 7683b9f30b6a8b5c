// Checkpoints whose linear layers were packed by AutoGPTQ or AutoAWQ, seen as the matrices they stand for.
//
// A packed layer X stores X.qweight, X.qzeros, X.scales and, by GPTQ, X.g_idx. Here it has X.weight,
// X.weight_scale, X.weight_min (and X.weight_order) instead, the groups of weights/weights.h: values and
// groups are kept as they are, without a detour over floats.
// ref: AutoGPTQ's auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py, AutoAWQ's awq/modules/linear/gemm.py
#pragma once

#include "base/json.h"
#include "weights/source.h"

namespace vlm {

// `quantization_config` as config.json has it; `source` itself when that is null or of another method than
// "gptq" or "awq", or when no layer is packed. Throws unsupported for bits and versions not known here,
// bad_checkpoint for sizes that do not fit together.
std::shared_ptr<const TensorSource> unpack_source(std::shared_ptr<const TensorSource> source,
                                                  const Json& quantization_config);

}  // namespace vlm
