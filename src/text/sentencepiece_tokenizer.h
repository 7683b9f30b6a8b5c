// Tokenizers around a SentencePiece model.
#pragma once

#include "text/pipeline.h"
#include "text/sentencepiece.h"

namespace vlm {

// `config` is tokenizer_config.json or null; its tokenizer_class and options choose what happens around the
// model.
TokenizerParts sentencepiece_parts(SentencePieceData data, const Json& config, const std::string& where);

// SigLIP's: lower case, without ASCII punctuation, white space runs to one blank.
std::string canonical_caption(std::string_view text, bool lower_case);

}  // namespace vlm
