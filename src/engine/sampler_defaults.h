// How a checkpoint's authors sample: generation_config.json, which transformers' generate() takes wherever
// the caller says nothing else.
#pragma once

#include <optional>

#include "base/json.h"
#include "engine/sampler.h"

namespace vlm {

struct SamplingDefaults {
  SamplingOptions sampling;
  std::optional<int64_t> max_new_tokens;
};

// Temperature, top_k, top_p and min_p count only where the file says do_sample, top_k then being 50 when it
// says nothing. Beam search is not taken: it is several times slower, and the caller's to choose. A null
// document gives the greedy choice.
SamplingDefaults sampling_defaults(const Json& generation_config);

}  // namespace vlm
