// Checkpoints of published models' shapes with made-up weights, in memory: what `vlm bench --shapes`
// measures.
#pragma once

#include <string>
#include <vector>

#include "system/checkpoint.h"
#include "weights/synthetic_source.h"

namespace vlm {

struct SyntheticCheckpoint {
  Checkpoint checkpoint;                    // with a tokenizer that makes a token of every byte
  std::shared_ptr<SyntheticSource> source;  // the same as the checkpoint's
  int64_t all_layers = 0;                   // of the language model as published; 0: there is none
};

// `shapes`: a system of manifests/ ("llava-1.5": the smallest of its checkpoints in the hub's own layout),
// one of its checkpoints ("qwen2-vl/Qwen2-VL-7B-Instruct"), or a language model alone
// (synthetic_language_models()). `layers`: how many layers of the language model are kept; 0: all. Throws
// not_found with the names that are there.
SyntheticCheckpoint synthetic_checkpoint(const std::string& shapes, int64_t layers = 0);

std::vector<std::string> synthetic_language_models();  // "tinyllama-1.1b", ...

}  // namespace vlm
