#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace vlm {

// What a checkpoint's configuration demands of every answer, whatever the caller chooses.
struct GenerationRules {
  std::optional<int64_t> forced_first_token;  // transformers: forced_bos_token_id
  std::optional<int64_t> forced_last_token;   // forced_eos_token_id: at the length limit
  int64_t no_repeat_ngram_size = 0;
  int64_t min_new_tokens = 0;
  std::vector<int64_t> suppress_tokens;
  bool stops_beams_early = false;  // early_stopping: a beam search ends as soon as it has enough answers
};

}  // namespace vlm
