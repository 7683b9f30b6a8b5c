// What the decoder of an encoder-decoder reads and is to write in training.
#pragma once

#include <vector>

#include "system/training.h"

namespace vlm {

struct DecoderTargets {
  Tensor ids;          // [T]: of all examples, each its start and its labels without the last
  ExampleBatch batch;  // `packed`, `label_rows` and `label_ids` of those
};
DecoderTargets decoder_targets(const std::vector<Prompt>& examples, int64_t start_id);

}  // namespace vlm
