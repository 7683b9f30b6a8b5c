// Tokenizers whose files hold a vocabulary and nothing else: the stages are those of their class.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "text/pipeline.h"

namespace vlm {

extern const char* const kGpt2Pattern;
extern const char* const kQwen2Pattern;
extern const char* const kLlama3Pattern;
extern const char* const kGpt4oPattern;
extern const char* const kClipPattern;

// Pre-tokenizer that cuts along `pattern` and writes bytes as letters.
PreTokenizer byte_level_split(const std::string& pattern, bool add_prefix_space);

// vocab.json and merges.txt of `folder`; `config` is its tokenizer_config.json or null.
TokenizerParts read_vocab_and_merges(const std::filesystem::path& folder, const Json& config);
// vocab.txt of BERT.
TokenizerParts read_vocab_txt(const std::filesystem::path& path, const Json& config);
// The ranks of a *.tiktoken file, with the pattern and special tokens of Qwen.
TokenizerParts read_tiktoken(const std::filesystem::path& path);
TokenizerParts read_tiktoken(std::string_view text, const std::string& where);

}  // namespace vlm
