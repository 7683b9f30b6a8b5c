// Text to token ids and back, in the semantics of Hugging Face's `tokenizer.json` and SentencePiece.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlm {

struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;  // 0 for the first text, 1 for the second of a pair
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // add_special_tokens: run the post-processor ("<s> $A"). Added tokens written in the text are always
  // recognised.
  virtual Encoding encode(std::string_view text, bool add_special_tokens = true) const = 0;
  virtual Encoding encode_pair(std::string_view first, std::string_view second,
                               bool add_special_tokens = true) const = 0;

  // Bytes that are no UTF-8 become U+FFFD. skip_special_tokens drops added tokens that are marked special.
  virtual std::string decode(std::span<const int64_t> ids, bool skip_special_tokens = true) const = 0;

  virtual int64_t vocab_size() const = 0;  // largest id + 1, added tokens included
  virtual std::optional<int64_t> token_to_id(std::string_view token) const = 0;
  virtual std::string id_to_token(int64_t id) const = 0;  // "" for an id without a token
  virtual bool is_special(int64_t id) const = 0;

  std::vector<int64_t> ids(std::string_view text, bool add_special_tokens = true) const {
    return encode(text, add_special_tokens).ids;
  }
};

// What tokenizer_config.json, special_tokens_map.json and generation_config.json say beside the tokenizer.
struct TokenizerInfo {
  std::string tokenizer_class;  // "LlamaTokenizer", ... ; "" when not stated
  std::optional<int64_t> bos_id, eos_id, pad_id, unk_id;
  std::string bos_token, eos_token, pad_token, unk_token;
  std::optional<int64_t> model_max_length;  // absent when it is the "very large" placeholder
  std::string padding_side = "right";
};

struct LoadedTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
  TokenizerInfo info;
};

// Finds the tokenizer of a checkpoint folder: tokenizer.json; else tokenizer.model / spiece.model /
// sentencepiece.bpe.model; else vocab.json + merges.txt; else vocab.txt; else a tiktoken file (*.tiktoken).
// added_tokens.json and the added_tokens_decoder of tokenizer_config.json are applied where the format needs
// it. `special`: tokens that the model's own code adds when it starts, behind all others. Throws not_found
// when the folder has none of them.
LoadedTokenizer load_tokenizer(const std::filesystem::path& folder,
                               const std::vector<std::string>& special = {});

// Emits text token by token and never half a character: bytes of an unfinished UTF-8 sequence wait for the
// next token.
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  std::string push(int64_t id);  // the new, complete text
  std::string finish();          // what is left; an unfinished sequence becomes U+FFFD

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int64_t> ids_;
  size_t emitted_ids_ = 0;   // ids before this one are fully emitted
  std::string prefix_text_;  // decoded text of the window's already emitted part
};

}  // namespace vlm
