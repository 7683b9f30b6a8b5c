// WordPiece (BERT) and WordLevel.
#pragma once

#include <string>

#include "text/model.h"
#include "text/vocabulary.h"

namespace vlm {

class WordPiece : public TokenModel {
 public:
  WordPiece(Vocabulary vocabulary, std::string unk_token, std::string prefix, int64_t max_chars,
            const std::string& where);
  void encode(std::string_view word, std::vector<int64_t>& ids) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  const std::string& id_to_token(int64_t id) const override { return vocabulary_.token(id); }
  int64_t size() const override { return vocabulary_.size(); }
  int64_t count() const override { return vocabulary_.count(); }

 private:
  bool encode_known(std::string_view word, std::vector<int64_t>& ids) const;

  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string prefix_;  // of tokens that continue a word
  int64_t max_chars_;   // longer words are unknown
  std::string where_;
};

class WordLevel : public TokenModel {
 public:
  WordLevel(Vocabulary vocabulary, std::string unk_token, const std::string& where);
  void encode(std::string_view word, std::vector<int64_t>& ids) const override;
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  const std::string& id_to_token(int64_t id) const override { return vocabulary_.token(id); }
  int64_t size() const override { return vocabulary_.size(); }
  int64_t count() const override { return vocabulary_.count(); }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string where_;
};

}  // namespace vlm
