#include "text/sentencepiece.h"

#include <algorithm>
#include <cfloat>
#include <numeric>

#include "base/error.h"
#include "text/bpe.h"
#include "text/merge.h"
#include "text/unicode.h"
#include "text/unigram.h"

namespace vlm {

namespace {

using PieceType = SentencePieceData::PieceType;
constexpr std::string_view kMetaspace = "\xe2\x96\x81";
constexpr float kUnknownPenalty = 10;
constexpr size_t kMaxText = size_t{1} << 28;

}  // namespace

SentencePiece::SentencePiece(SentencePieceData data, const std::string& where)
    : data_(std::move(data)), charsmap_(data_.charsmap, where) {
  if (data_.pieces.size() > static_cast<size_t>(kMaxTokens))
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: has {} pieces, at most {} are read", where, data_.pieces.size(), kMaxTokens);
  lowest_score_ = FLT_MAX;
  highest_score_ = FLT_MIN;  // sic: the smallest positive number, as in the reference
  bool crosses = false;
  for (size_t index = 0; index < data_.pieces.size(); ++index) {
    const auto& piece = data_.pieces[index];
    auto id = static_cast<int64_t>(index);
    if (piece.text.empty())
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: piece {} is empty", where,
           id);
    bool is_text = piece.type == PieceType::normal || piece.type == PieceType::user_defined ||
                   piece.type == PieceType::unused;
    if (is_text) {
      crosses = crosses || crosses_metaspace(piece.text);
      if (!normal_.emplace(piece.text, id).second)
        fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
             "{}: the piece \"{}\" is there twice", where, piece.text);
    } else {
      reserved_.emplace(piece.text, id);
    }
    if (piece.type == PieceType::user_defined) user_defined_.add(piece.text, static_cast<int32_t>(id));
    if (piece.type == PieceType::unknown && unk_id_ < 0) unk_id_ = id;
    if (piece.type == PieceType::normal) {
      lowest_score_ = std::min(lowest_score_, piece.score);
      highest_score_ = std::max(highest_score_, piece.score);
    }
    if (data_.type == SentencePieceData::Type::unigram && is_text && piece.type != PieceType::unused)
      trie_.add(piece.text, static_cast<int32_t>(id));
  }
  if (unk_id_ < 0)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "{}: no piece is of the type unknown", where);
  user_defined_.build();
  trie_.build();
  splits_at_metaspace_ = !crosses;

  byte_ids_.fill(unk_id_);
  if (data_.byte_fallback)
    for (int byte = 0; byte < 256; ++byte)
      byte_ids_[static_cast<size_t>(byte)] = token_to_id(byte_token(byte)).value_or(unk_id_);

  if (data_.type == SentencePieceData::Type::bpe) {
    std::vector<uint32_t> order(data_.pieces.size());
    std::iota(order.begin(), order.end(), 0u);
    auto score = [&](uint32_t id) {
      float value = data_.pieces[id].score;
      return value != value ? -FLT_MAX : value;  // not-a-number has no place in an order
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t left, uint32_t right) { return score(left) > score(right); });
    ranks_.resize(order.size());
    uint32_t rank = 0;
    for (size_t index = 0; index < order.size(); ++index) {
      if (index > 0 && score(order[index]) != score(order[index - 1])) ++rank;
      ranks_[order[index]] = rank;
    }
  }
}

std::optional<int64_t> SentencePiece::token_to_id(std::string_view token) const {
  if (auto found = reserved_.find(token); found != reserved_.end()) return found->second;
  if (auto found = normal_.find(token); found != normal_.end()) return found->second;
  return std::nullopt;
}

const std::string& SentencePiece::id_to_token(int64_t id) const {
  return id < 0 || id >= size() ? empty_ : data_.pieces[static_cast<size_t>(id)].text;
}

bool SentencePiece::is_control(int64_t id) const {
  return id >= 0 && id < size() && type_of(id) == PieceType::control;
}

// What the beginning of `text` becomes, and its length.
std::pair<std::string_view, size_t> SentencePiece::normalize_prefix(std::string_view text) const {
  size_t length = 0;
  if (!user_defined_.empty() && user_defined_.longest(text, 0, length) != ByteTrie::kNone)
    return {text.substr(0, length), length};
  if (auto rule = charsmap_.longest(text); rule.length > 0) return {rule.replacement, rule.length};
  length = std::min(char_length(text[0]), text.size());
  return {text.substr(0, length), length};
}

std::string SentencePiece::normalize(std::string_view text) const {
  std::string normal;
  if (data_.remove_extra_whitespaces) {
    while (!text.empty()) {
      auto [replacement, length] = normalize_prefix(text);
      if (replacement != " ") break;
      text.remove_prefix(length);
    }
  }
  if (text.empty()) return normal;
  normal.reserve(text.size() + text.size() / 2);
  std::string_view space = data_.escape_whitespaces ? kMetaspace : " ";
  if (!data_.treat_whitespace_as_suffix && data_.add_dummy_prefix) normal += space;
  bool after_space = data_.remove_extra_whitespaces;
  while (!text.empty()) {
    auto [replacement, length] = normalize_prefix(text);
    while (after_space && replacement.starts_with(' ')) replacement.remove_prefix(1);
    if (!replacement.empty()) {
      for (char byte : replacement) {
        if (byte == ' ')
          normal += space;
        else
          normal += byte;
      }
      after_space = data_.remove_extra_whitespaces && replacement.ends_with(' ');
    }
    text.remove_prefix(length);
    if (normal.size() > kMaxText)
      fail(ErrorKind::out_of_resources, "shorten the text, or compare the model with the published one",
           "the normalizer made more than {} bytes of the text", kMaxText);
  }
  if (data_.remove_extra_whitespaces)
    while (normal.ends_with(space)) normal.resize(normal.size() - space.size());
  if (data_.treat_whitespace_as_suffix && data_.add_dummy_prefix) normal += space;
  return normal;
}

void SentencePiece::encode_bpe(std::string_view text, std::vector<Part>& parts) const {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  constexpr int64_t kFrozen = -2;
  for (size_t at = 0, length; at < text.size(); at += length) {
    int64_t id = -1;
    length = 0;
    if (!user_defined_.empty() && user_defined_.longest(text, at, length) != ByteTrie::kNone)
      id = kFrozen;
    else
      length = std::min(char_length(text[at]), text.size() - at);
    add_symbol(symbols, id, at, length);
  }
  // How unused pieces came about: they are taken apart again.
  std::unordered_map<std::string_view, size_t> left_length;
  merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> Merge {
    if (left.id == kFrozen || right.id == kFrozen) return {};
    auto piece = text.substr(left.begin, left.length + right.length);
    auto found = normal_.find(piece);
    if (found == normal_.end()) return {};
    if (type_of(found->second) == PieceType::unused) left_length[piece] = left.length;
    return {ranks_[static_cast<size_t>(found->second)], found->second};
  });
  std::vector<std::string_view> stack;
  for (const Symbol& symbol : symbols) {
    if (symbol.length == 0) continue;
    stack.push_back(text.substr(symbol.begin, symbol.length));
    while (!stack.empty()) {
      std::string_view piece = stack.back();
      stack.pop_back();
      int64_t id = token_to_id(piece).value_or(unk_id_);
      auto found = type_of(id) == PieceType::unused ? left_length.find(piece) : left_length.end();
      if (found == left_length.end()) {
        parts.push_back({piece, id});
      } else {
        stack.push_back(piece.substr(found->second));
        stack.push_back(piece.substr(0, found->second));
      }
    }
  }
}

void SentencePiece::encode_unigram(std::string_view text, std::vector<Part>& parts) const {
  auto score = [this](int32_t id, size_t length) -> double {
    // A user-defined piece wins against whatever covers the same text.
    if (type_of(id) == PieceType::user_defined) return static_cast<float>(length) * highest_score_ - 0.1;
    return data_.pieces[static_cast<size_t>(id)].score;
  };
  for (const auto& part : Viterbi<float>::cut(text, trie_, lowest_score_ - kUnknownPenalty, score))
    parts.push_back(
        {text.substr(part.begin, part.end - part.begin), part.id == ByteTrie::kNone ? unk_id_ : part.id});
}

void SentencePiece::encode_words(std::string_view text, std::vector<Part>& parts) const {
  auto add = [&](std::string_view piece) { parts.push_back({piece, token_to_id(piece).value_or(unk_id_)}); };
  if (data_.type == SentencePieceData::Type::characters) {
    for (size_t at = 0, length; at < text.size(); at += length) {
      length = 0;
      if (user_defined_.empty() || user_defined_.longest(text, at, length) == ByteTrie::kNone)
        length = std::min(char_length(text[at]), text.size() - at);
      add(text.substr(at, length));
    }
    return;
  }
  size_t begin = 0;
  for (size_t at = text.find(kMetaspace, 1); at != text.npos; at = text.find(kMetaspace, at + 3)) {
    add(text.substr(begin, at - begin));
    begin = at;
  }
  add(text.substr(begin));
}

// Unknown pieces become bytes, or one unknown token for a run of them.
void SentencePiece::append_ids(const std::vector<Part>& parts, std::vector<int64_t>& ids) const {
  bool after_unknown = false;
  for (const Part& part : parts) {
    bool unknown = type_of(part.id) == PieceType::unknown;
    if (unknown && data_.byte_fallback) {
      for (char byte : part.text) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    } else if (!(unknown && after_unknown)) {
      ids.push_back(part.id);
    }
    after_unknown = unknown;
  }
}

void SentencePiece::encode(std::string_view text, std::vector<int64_t>& ids) const {
  std::string normal = normalize(text);
  if (normal.empty()) return;
  std::vector<Part> parts;
  switch (data_.type) {
    case SentencePieceData::Type::unigram:
      encode_unigram(normal, parts);
      break;
    case SentencePieceData::Type::bpe:
      if (splits_at_metaspace_)
        for_each_metaspace_word(normal, [&](std::string_view word) { encode_bpe(word, parts); });
      else
        encode_bpe(normal, parts);
      break;
    case SentencePieceData::Type::word:
    case SentencePieceData::Type::characters:
      encode_words(normal, parts);
      break;
  }
  append_ids(parts, ids);
}

}  // namespace vlm
