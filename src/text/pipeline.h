// A tokenizer put together from its stages.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace vlm {

struct TokenizerParts {
  std::function<std::string(std::string)> prepare;  // of the whole text, before anything is cut
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::shared_ptr<const TokenModel> model;
  std::optional<int64_t> lone_prefix_id;  // a first token that vanishes in front of a special token
  PostProcessor post_processor;
  Decoder decoder;                                      // absent: tokens are joined with blanks
  std::function<std::string(std::string)> finish_text;  // of the decoded text
};

// `parts.added` is built here.
std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts);

// The stages of a tokenizer.json.
TokenizerParts read_tokenizer_json(const Json& document);

}  // namespace vlm
