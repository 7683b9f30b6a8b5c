// Learns a small tokenizer from texts and writes it in the layout of LLaMA's tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace vlm {

struct BpeOptions {
  int64_t vocab_size = 1200;  // at most, with special tokens, 256 bytes and the characters
  int64_t least_count = 3;    // of a pair, to be merged
  // Words in capitals that every prompt holds ("USER:"). They are put together from the colon backwards, so
  // that no merge of theirs applies to other words in capitals.
  std::vector<std::string> role_words = {"USER:", "ASSISTANT:"};
};

struct BpeVocabulary {
  std::vector<std::string> tokens;  // by id: <unk> <s> </s>, bytes, characters, merges, <image> <pad>
  std::vector<std::pair<std::string, std::string>> merges;
  int64_t image_id = 0, pad_id = 0;
};

// Merges join letters inside a word, never digits, punctuation or two capitals: numbers and words in capitals
// stay single characters, so reading them means naming characters.
BpeVocabulary train_bpe(const std::vector<std::string>& texts, const BpeOptions& options = {});

// tokenizer.json, tokenizer_config.json and special_tokens_map.json.
void write_llama_tokenizer(const std::filesystem::path& folder, const BpeVocabulary& vocabulary);

}  // namespace vlm
