// How likely a model finds each of several answers: questions with a list of answers, ranked instead of
// written.
#pragma once

#include <string>
#include <vector>

#include "system/system.h"

namespace vlm {

// Natural logarithm of the probability of every answer's ids, all of them, behind the prompt. Rules of
// generation (forced tokens, penalties) play no part. Throws bad_request for an answer without ids.
std::vector<double> score_choices(const Generator& generator, const Prompt& prompt,
                                  const std::vector<Tensor>& features,
                                  const std::vector<std::vector<int64_t>>& answers);

// An answer as the model would write it: its tokens without those that begin a text, and the end token.
std::vector<int64_t> choice_ids(const Tokenizer& tokenizer, const Generator& generator,
                                const std::string& text);

}  // namespace vlm
