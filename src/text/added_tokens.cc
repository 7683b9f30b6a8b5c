#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "text/unicode.h"

namespace vlm {

namespace {

bool ends_with_word(std::string_view text) {
  size_t last = text.size() - 1;
  while (last > 0 && (text[last] & 0xc0) == 0x80) --last;
  size_t length;
  return is_word(decode_char(text, last, length));
}

bool starts_with_word(std::string_view text) {
  size_t length;
  return is_word(decode_char(text, 0, length));
}

}  // namespace

AddedToken read_added_token(const Json& value, bool special) {
  AddedToken token;
  token.special = special;
  token.normalized = !special;
  if (value.is_string()) {
    token.content = value.as<std::string>();
    return token;
  }
  token.content = value.at("content").as<std::string>();
  token.special = value.get("special", token.special);
  token.single_word = value.get("single_word", false);
  token.lstrip = value.get("lstrip", false);
  token.rstrip = value.get("rstrip", false);
  token.normalized = value.get("normalized", !token.special);
  value.ignore({"__type"});
  return token;
}

void AddedTokens::add(const AddedToken& token, const TokenModel& model, std::optional<int64_t> id) {
  if (token.content.empty()) return;
  int64_t chosen;
  if (auto known = find(token.content))
    chosen = *known;
  else if (auto from_model = model.token_to_id(token.content))
    chosen = *from_model;
  else if (id)
    chosen = *id;
  else
    chosen = std::max(size(), model.count());
  if (chosen < 0 || chosen >= kMaxTokens)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "the added token \"{}\" has the id {}, expected one within 0..{}", token.content.substr(0, 40),
         chosen, kMaxTokens - 1);
  ids_[token.content] = chosen;
  if (token.special) special_.insert(token.content);
  tokens_[chosen] = token;
}

void AddedTokens::build(const Normalizer& normalizer) {
  for (const auto& [id, token] : tokens_) {
    if (!token.normalized) {
      raw_.add(token.content, static_cast<int32_t>(id));
      continue;
    }
    Piece piece{token.content, false};
    if (normalizer) normalizer(piece);
    if (piece.text != token.content) normal_forms_[id] = piece.text;
    if (!piece.text.empty()) normalized_.add(piece.text, static_cast<int32_t>(id));
  }
  raw_.build();
  normalized_.build();
}

std::vector<AddedTokens::Part> AddedTokens::cut(std::string_view text, const ByteTrie& trie) const {
  std::vector<Part> parts;
  size_t previous = 0;
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    size_t length = 0;
    int32_t id = trie.longest(text, at, length);
    if (id == ByteTrie::kNone || length == 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + length;
    at = end;
    const AddedToken& token = tokens_.at(id);
    if (token.single_word && ((begin > 0 && ends_with_word(text.substr(0, begin))) ||
                              (end < text.size() && starts_with_word(text.substr(end)))))
      continue;
    size_t ignored;
    if (token.lstrip) {
      while (begin > previous) {
        size_t last = begin - 1;
        while (last > previous && (text[last] & 0xc0) == 0x80) --last;
        if (!is_white_space(decode_char(text, last, ignored))) break;
        begin = last;
      }
    }
    if (token.rstrip)
      while (end < text.size() && is_white_space(decode_char(text, end, ignored)))
        end += char_length(text[end]);
    if (previous < begin) parts.push_back({previous, begin, -1});
    parts.push_back({begin, end, id});
    previous = end;
  }
  if (previous < text.size()) parts.push_back({previous, text.size(), -1});
  return parts;
}

std::optional<int64_t> AddedTokens::find(std::string_view content) const {
  auto found = ids_.find(std::string(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const AddedToken* AddedTokens::token(int64_t id) const {
  auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

const std::string* AddedTokens::decoder_text(int64_t id) const {
  if (auto form = normal_forms_.find(id); form != normal_forms_.end()) return &form->second;
  auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second.content;
}

int64_t AddedTokens::size() const {
  return tokens_.empty() ? 0 : tokens_.rbegin()->first + 1;
}

}  // namespace vlm
