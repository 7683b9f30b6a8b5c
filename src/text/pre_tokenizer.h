// The key "pre_tokenizer" of tokenizer.json: cuts text into the words that the model sees.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/normalizer.h"

namespace vlm {

class Json;

using PreTokenizer = std::function<void(std::vector<Piece>&)>;

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
enum class PrependScheme { first, never, always };

PreTokenizer read_pre_tokenizer(const Json& value, int depth = 0);

namespace pre_tokenizers {
PreTokenizer sequence(std::vector<PreTokenizer> steps);
PreTokenizer split(const std::string& pattern, SplitBehavior behavior, bool invert, const std::string& where);
PreTokenizer byte_level(bool add_prefix_space, bool use_regex);
PreTokenizer metaspace(std::string replacement, PrependScheme scheme, bool split);
PreTokenizer bert();
PreTokenizer digits(bool individual);
PreTokenizer unicode_scripts();
}  // namespace pre_tokenizers

PrependScheme read_prepend_scheme(const Json& metaspace);

}  // namespace vlm
