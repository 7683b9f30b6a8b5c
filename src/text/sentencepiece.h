// SentencePiece models: their file, and the encoding of its library (normaliser, BPE by scores, unigram,
// bytes).
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "text/charsmap.h"
#include "text/model.h"
#include "text/vocabulary.h"

namespace vlm {

// What the file says, in the numbers of sentencepiece_model.proto. GGUF files store the same.
struct SentencePieceData {
  enum class Type { unigram = 1, bpe = 2, word = 3, characters = 4 };
  enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::normal;
  };
  std::vector<Piece> pieces;
  Type type = Type::unigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string charsmap;
  int64_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;  // of the trainer; -1: absent
};

// Throws bad_checkpoint, naming `where`, for bytes that are no such model.
SentencePieceData read_sentencepiece(std::string_view bytes, const std::string& where);

class SentencePiece : public TokenModel {
 public:
  SentencePiece(SentencePieceData data, const std::string& where);

  void encode(std::string_view text, std::vector<int64_t>& ids) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override;
  const std::string& id_to_token(int64_t id) const override;
  int64_t size() const override { return static_cast<int64_t>(data_.pieces.size()); }

  const SentencePieceData& data() const { return data_; }
  std::string normalize(std::string_view text) const;
  int64_t unk_id() const { return unk_id_; }
  bool is_control(int64_t id) const;

 private:
  struct Part {
    std::string_view text;
    int64_t id;
  };
  std::pair<std::string_view, size_t> normalize_prefix(std::string_view text) const;
  void encode_bpe(std::string_view text, std::vector<Part>& parts) const;
  void encode_unigram(std::string_view text, std::vector<Part>& parts) const;
  void encode_words(std::string_view text, std::vector<Part>& parts) const;
  void append_ids(const std::vector<Part>& parts, std::vector<int64_t>& ids) const;
  SentencePieceData::PieceType type_of(int64_t id) const {
    return data_.pieces[static_cast<size_t>(id)].type;
  }

  SentencePieceData data_;
  Charsmap charsmap_;
  std::string empty_;
  std::unordered_map<std::string_view, int64_t> normal_;    // pieces that text can become
  std::unordered_map<std::string_view, int64_t> reserved_;  // control, unknown and byte pieces
  ByteTrie user_defined_;
  ByteTrie trie_;                // unigram
  std::vector<uint32_t> ranks_;  // BPE: equal scores have equal ranks
  std::array<int64_t, 256> byte_ids_{};
  int64_t unk_id_ = -1;
  float lowest_score_ = 0;
  float highest_score_ = 0;
  bool splits_at_metaspace_ = false;
};

}  // namespace vlm
