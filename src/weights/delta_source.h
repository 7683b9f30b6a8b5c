#pragma once

#include "weights/source.h"

namespace vlm {

// A checkpoint published as differences to a language model ("delta weights"): each tensor is what `delta`
// stores plus what `base` has under the same name, in `delta`'s element type. Embeddings and heads with more
// rows than the base's keep the rows behind as they are; what the base does not have (a projector) is taken
// as it is. Throws bad_checkpoint when the base has other sizes, or not the layers.
std::shared_ptr<const TensorSource> delta_source(std::shared_ptr<const TensorSource> delta,
                                                 std::shared_ptr<const TensorSource> base);

}  // namespace vlm
