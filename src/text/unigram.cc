#include <algorithm>

#include "text/unigram.h"

#include <limits>

#include "base/error.h"
#include "text/bpe.h"

namespace vlm {

namespace {

constexpr double kUnknownPenalty = 10;

}  // namespace

Unigram::Unigram(std::vector<std::pair<std::string, double>> pieces, std::optional<int64_t> unk_id,
                 bool byte_fallback, const std::string& where)
    : unk_id_(unk_id), byte_fallback_(byte_fallback), where_(where) {
  if (unk_id && (*unk_id < 0 || *unk_id >= static_cast<int64_t>(pieces.size())))
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: unk_id is {}, but there are {} pieces", where, *unk_id, pieces.size());
  double lowest = std::numeric_limits<double>::infinity();
  vocabulary_.reserve(pieces.size());
  scores_.reserve(pieces.size());
  for (auto& [token, score] : pieces) {
    auto id = static_cast<int64_t>(scores_.size());
    lowest = std::min(lowest, score);
    scores_.push_back(score);
    trie_.add(token, static_cast<int32_t>(id));
    vocabulary_.add(std::move(token), id, where);
  }
  trie_.build();
  vocabulary_.index();
  unknown_score_ = lowest - kUnknownPenalty;
  byte_ids_.fill(-1);
  if (byte_fallback_) byte_ids_ = byte_token_ids(vocabulary_);
}

void Unigram::encode_unknown(std::string_view text, std::vector<int64_t>& ids) const {
  if (auto id = vocabulary_.find(text)) {
    ids.push_back(*id);
    return;
  }
  if (byte_fallback_) {
    bool all = true;
    for (char byte : text) all = all && byte_ids_[static_cast<unsigned char>(byte)] >= 0;
    if (all) {
      for (char byte : text) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
      return;
    }
  }
  if (!unk_id_)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the text needs an unknown token, but unk_id is missing", where_);
  ids.push_back(*unk_id_);
}

void Unigram::encode(std::string_view word, std::vector<int64_t>& ids) const {
  if (word.empty() || cache_.find(word, ids)) return;
  size_t before = ids.size();
  auto parts = Viterbi<double>::cut(word, trie_, unknown_score_,
                                    [this](int32_t id, size_t) { return scores_[static_cast<size_t>(id)]; });
  // A run of unknown characters is one token.
  for (size_t index = 0; index < parts.size();) {
    auto is_unknown = [&](size_t part) {
      return parts[part].id == ByteTrie::kNone || parts[part].id == unk_id_;
    };
    if (!is_unknown(index)) {
      ids.push_back(parts[index++].id);
      continue;
    }
    size_t begin = parts[index].begin;
    size_t end = begin;
    for (; index < parts.size() && is_unknown(index); ++index) end = parts[index].end;
    encode_unknown(word.substr(begin, end - begin), ids);
  }
  cache_.insert(word, ids.data() + before, ids.size() - before);
}

}  // namespace vlm
