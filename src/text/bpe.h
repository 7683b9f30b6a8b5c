// Byte-pair encoding with a list of merges.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "text/merge.h"
#include "text/model.h"
#include "text/vocabulary.h"

namespace vlm {

struct BpeOptions {
  std::string unk_token;  // "": characters without a token vanish
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

class Bpe : public TokenModel {
 public:
  // `where` names the file and key in messages.
  Bpe(Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
      BpeOptions options, const std::string& where);

  void encode(std::string_view word, std::vector<int64_t>& ids) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  const std::string& id_to_token(int64_t id) const override { return vocabulary_.token(id); }
  int64_t size() const override { return vocabulary_.size(); }
  int64_t count() const override { return vocabulary_.count(); }

 private:
  void encode_part(std::string_view word, std::vector<int64_t>& ids) const;
  void merge_word(std::string_view word, std::vector<int64_t>& ids) const;
  int64_t unknown_id() const;
  Merge find_merge(int64_t left, int64_t right) const;
  void add_merge(int64_t left, int64_t right, Merge merge);

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::string where_;
  std::array<int64_t, 256> byte_ids_{};
  // Open addressing: pairs of ids to merges.
  std::vector<std::pair<uint64_t, Merge>> table_;
  bool splits_at_metaspace_ = false;
  WordCache cache_;
};

// "a b" to {"a", "b"}; throws bad_checkpoint when there is not exactly one blank.
std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where);

// Whether some token has U+2581 behind another character. Where none has, no merge crosses the beginning of a
// word, and a long text may be cut there.
bool crosses_metaspace(std::string_view token);
// Calls visit(part) with parts that begin at U+2581 behind another character.
template <typename Visit>
void for_each_metaspace_word(std::string_view text, Visit&& visit) {
  constexpr std::string_view kMetaspace = "\xe2\x96\x81";
  size_t begin = 0;
  for (size_t at = text.find(kMetaspace); at != text.npos; at = text.find(kMetaspace, at + 3)) {
    bool starts_word = at > begin && (at < 3 || text.substr(at - 3, 3) != kMetaspace);
    if (!starts_word) continue;
    visit(text.substr(begin, at - begin));
    begin = at;
  }
  visit(text.substr(begin));
}

// The id of <0x00> .. <0xFF>, -1 where the vocabulary lacks it.
std::array<int64_t, 256> byte_token_ids(const Vocabulary& vocabulary);
std::string byte_token(int byte);           // "<0x0A>"
int byte_of_token(std::string_view token);  // -1: not a byte token

}  // namespace vlm
