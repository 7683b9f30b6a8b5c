// Unigram: the segmentation whose pieces have the highest sum of scores.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "text/model.h"
#include "text/vocabulary.h"

namespace vlm {

// The best way to cut a text. Score is double in tokenizer.json's semantics and float in SentencePiece's:
// their sums decide ties.
template <typename Score>
class Viterbi {
 public:
  struct Part {
    size_t begin;
    size_t end;
    int32_t id;  // ByteTrie::kNone: no piece begins with this character
  };

  // score(id, length) of the pieces in `trie`; `unknown` is the score of a character that no piece covers.
  template <typename ScoreOf>
  static std::vector<Part> cut(std::string_view text, const ByteTrie& trie, Score unknown, ScoreOf&& score);
};

class Unigram : public TokenModel {
 public:
  Unigram(std::vector<std::pair<std::string, double>> pieces, std::optional<int64_t> unk_id,
          bool byte_fallback, const std::string& where);

  void encode(std::string_view word, std::vector<int64_t>& ids) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  const std::string& id_to_token(int64_t id) const override { return vocabulary_.token(id); }
  int64_t size() const override { return vocabulary_.size(); }

 private:
  void encode_unknown(std::string_view text, std::vector<int64_t>& ids) const;

  Vocabulary vocabulary_;
  ByteTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::optional<int64_t> unk_id_;
  bool byte_fallback_;
  std::array<int64_t, 256> byte_ids_{};
  std::string where_;
  WordCache cache_;
};

template <typename Score>
template <typename ScoreOf>
std::vector<typename Viterbi<Score>::Part> Viterbi<Score>::cut(std::string_view text, const ByteTrie& trie,
                                                               Score unknown, ScoreOf&& score) {
  struct Node {
    Score score = 0;
    int32_t id = ByteTrie::kNone;
    int64_t begin = -1;
  };
  auto char_bytes = [&](size_t at) {
    auto byte = static_cast<unsigned char>(text[at]);
    size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return std::min(length, text.size() - at);
  };
  std::vector<Node> nodes(text.size() + 1);
  for (size_t begin = 0; begin < text.size();) {
    Score so_far = nodes[begin].score;
    size_t length = char_bytes(begin);
    bool has_single = false;
    int32_t state = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      state = trie.step(state, text[at]);
      if (state == ByteTrie::kNone) break;
      int32_t id = trie.value(state);
      if (id == ByteTrie::kNone) continue;
      Node& node = nodes[at + 1];
      auto candidate = score(id, at + 1 - begin) + so_far;
      if (node.begin < 0 || candidate > node.score)
        node = {static_cast<Score>(candidate), id, static_cast<int64_t>(begin)};
      has_single = has_single || at + 1 - begin == length;
    }
    if (!has_single) {
      Node& node = nodes[begin + length];
      Score candidate = unknown + so_far;
      if (node.begin < 0 || candidate > node.score)
        node = {candidate, ByteTrie::kNone, static_cast<int64_t>(begin)};
    }
    begin += length;
  }
  std::vector<Part> parts;
  for (size_t end = text.size(); end > 0;) {
    const Node& node = nodes[end];
    auto begin = static_cast<size_t>(node.begin);
    parts.push_back({begin, end, node.id});
    end = begin;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace vlm
