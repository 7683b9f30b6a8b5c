// The tokenizer that a GGUF file carries, from the values of its tokenizer.ggml.* keys.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace vlm {

struct GgufTokenizer {
  std::string model;  // "llama", "gpt2", "bert", "t5"
  std::string pre;    // of gpt2: which split pattern; "" is "default"
  std::vector<std::string> tokens;
  std::vector<float> scores;         // llama and t5
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;   // gpt2: "a b"
  std::optional<int64_t> bos_id, eos_id, unk_id, cls_id, sep_id;
  std::optional<bool> add_bos, add_eos;   // absent: what the model's kind does
  bool add_space_prefix = true;           // llama and t5
  bool remove_extra_whitespaces = false;  // t5
  std::string precompiled_charsmap;       // t5, as bytes
};

// The ids are those of the tokenizer that the file was converted from. Throws bad_checkpoint for lists that
// do not fit each other, unsupported for a kind that is not known.
std::shared_ptr<const Tokenizer> tokenizer_from_gguf(const GgufTokenizer& values);

}  // namespace vlm
