// Tokens that are cut out of the text before the model sees it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/model.h"
#include "text/normalizer.h"
#include "text/vocabulary.h"

namespace vlm {

class Json;

struct AddedToken {
  std::string content;
  bool single_word = false;  // only where no word goes on before or behind it
  bool lstrip = false;       // swallows the white space on its left
  bool rstrip = false;
  bool normalized = true;  // looked for in the normalised text, in its normalised form
  bool special = false;    // left out when decoding
};

// "content" as a string, or an object with the fields above. `special` is the default of both special and
// not normalized.
AddedToken read_added_token(const Json& value, bool special);

class AddedTokens {
 public:
  // The id is the model's for a token that it knows; else `id` when given, else the next free one. A token
  // that is there already gets the new properties.
  void add(const AddedToken& token, const TokenModel& model, std::optional<int64_t> id = std::nullopt);
  void build(const Normalizer& normalizer);  // call once after the last add()

  struct Part {
    size_t begin;
    size_t end;
    int64_t id;  // -1: text
  };
  std::vector<Part> cut_raw(std::string_view text) const { return cut(text, raw_); }
  std::vector<Part> cut_normalized(std::string_view text) const { return cut(text, normalized_); }

  std::optional<int64_t> find(std::string_view content) const;
  const AddedToken* token(int64_t id) const;
  // The text that a decoder gets for this id: the normalised form, which it undoes.
  const std::string* decoder_text(int64_t id) const;
  bool is_special_text(std::string_view content) const { return special_.count(std::string(content)) > 0; }
  int64_t size() const;  // largest id + 1

 private:
  std::vector<Part> cut(std::string_view text, const ByteTrie& trie) const;

  std::map<int64_t, AddedToken> tokens_;
  std::unordered_map<std::string, int64_t> ids_;
  std::unordered_map<int64_t, std::string> normal_forms_;
  std::unordered_set<std::string> special_;
  ByteTrie raw_;
  ByteTrie normalized_;
};

}  // namespace vlm
