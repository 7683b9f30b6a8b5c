#include "engine/sampler_defaults.h"

#include "base/error.h"

namespace vlm {

SamplingDefaults sampling_defaults(const Json& generation_config) {
  SamplingDefaults defaults;
  SamplingOptions& sampling = defaults.sampling;
  const double temperature = generation_config.get("temperature", 1.0);
  sampling.do_sample = generation_config.get("do_sample", false) && temperature > 0;
  if (sampling.do_sample) {
    sampling.temperature = temperature;
    sampling.top_k = generation_config.get("top_k", int64_t{50});
    sampling.top_p = generation_config.get("top_p", 1.0);
    sampling.min_p = generation_config.get("min_p", 0.0);
  }
  sampling.repetition_penalty = generation_config.get("repetition_penalty", 1.0);
  sampling.no_repeat_ngram_size = generation_config.get("no_repeat_ngram_size", int64_t{0});
  if (generation_config.has("max_new_tokens"))
    defaults.max_new_tokens = generation_config.integer("max_new_tokens", 1, int64_t{1} << 30);
  try {
    check_options(sampling);
  } catch (const Error& error) {
    fail(ErrorKind::bad_checkpoint, "correct the file, or take it away", "generation_config.json: {}",
         error.message());
  }
  return defaults;
}

}  // namespace vlm
