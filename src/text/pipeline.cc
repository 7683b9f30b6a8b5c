#include "text/pipeline.h"

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

namespace {

class Pipeline : public Tokenizer {
 public:
  explicit Pipeline(TokenizerParts parts) : parts_(std::move(parts)) {}

  Encoding encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<Encoding> encodings(1);
    encodings[0] = encode_text(text, 0);
    return finish(std::move(encodings), add_special_tokens);
  }

  Encoding encode_pair(std::string_view first, std::string_view second,
                       bool add_special_tokens) const override {
    std::vector<Encoding> encodings(2);
    encodings[0] = encode_text(first, 0);
    encodings[1] = encode_text(second, 1);
    return finish(std::move(encodings), add_special_tokens);
  }

  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (int64_t id : ids) {
      const std::string* token = parts_.added.decoder_text(id);
      if (token == nullptr) token = &parts_.model->id_to_token(id);
      if (token->empty() || (skip_special_tokens && parts_.added.is_special_text(*token))) continue;
      tokens.push_back(*token);
    }
    std::string text;
    if (parts_.decoder && !tokens.empty()) {
      parts_.decoder(tokens);
      for (const std::string& token : tokens) text += token;
    } else {
      for (size_t index = 0; index < tokens.size(); ++index) text += (index > 0 ? " " : "") + tokens[index];
    }
    if (parts_.finish_text) text = parts_.finish_text(std::move(text));
    return valid_utf8(text);
  }

  int64_t vocab_size() const override { return std::max(parts_.model->size(), parts_.added.size()); }

  std::optional<int64_t> token_to_id(std::string_view token) const override {
    if (auto id = parts_.added.find(token)) return id;
    return parts_.model->token_to_id(token);
  }

  std::string id_to_token(int64_t id) const override {
    const AddedToken* added = parts_.added.token(id);
    return added != nullptr ? added->content : parts_.model->id_to_token(id);
  }

  bool is_special(int64_t id) const override {
    const AddedToken* added = parts_.added.token(id);
    return added != nullptr ? added->special : parts_.added.is_special_text(parts_.model->id_to_token(id));
  }

 private:
  Encoding encode_text(std::string_view raw, int64_t type) const {
    std::string text = valid_utf8(raw);
    if (parts_.prepare) text = parts_.prepare(std::move(text));
    Encoding encoding;
    auto& ids = encoding.ids;
    for (const auto& part : parts_.added.cut_raw(text)) {
      if (part.id >= 0) {
        bool lone_prefix = ids.size() == 1 && ids[0] == parts_.lone_prefix_id && part.begin > 0;
        if (lone_prefix && is_special(part.id)) ids.clear();
        ids.push_back(part.id);
      } else if (part.begin < part.end) {
        encode_raw({text.substr(part.begin, part.end - part.begin), part.begin == 0}, ids);
      }
    }
    encoding.type_ids.assign(encoding.ids.size(), type);
    return encoding;
  }

  void encode_raw(Piece piece, std::vector<int64_t>& ids) const {
    if (parts_.normalizer) parts_.normalizer(piece);
    for (const auto& part : parts_.added.cut_normalized(piece.text)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else if (part.begin < part.end) {
        encode_normalized(
            {piece.text.substr(part.begin, part.end - part.begin), piece.at_start && part.begin == 0}, ids);
      }
    }
  }

  void encode_normalized(Piece piece, std::vector<int64_t>& ids) const {
    std::vector<Piece> words;
    words.push_back(std::move(piece));
    if (parts_.pre_tokenizer) parts_.pre_tokenizer(words);
    for (const Piece& word : words)
      if (!word.text.empty()) parts_.model->encode(word.text, ids);
  }

  Encoding finish(std::vector<Encoding> encodings, bool add_special_tokens) const {
    if (parts_.post_processor) parts_.post_processor(encodings, add_special_tokens);
    Encoding whole;
    for (Encoding& encoding : encodings) {
      whole.ids.insert(whole.ids.end(), encoding.ids.begin(), encoding.ids.end());
      whole.type_ids.insert(whole.type_ids.end(), encoding.type_ids.begin(), encoding.type_ids.end());
    }
    return whole;
  }

  TokenizerParts parts_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts) {
  parts.added.build(parts.normalizer);
  return std::make_shared<Pipeline>(std::move(parts));
}

TokenizerParts read_tokenizer_json(const Json& document) {
  TokenizerParts parts;
  document.require("version", "1.0");
  document.ignore({"truncation", "padding"});  // the caller's business
  if (document.has("normalizer")) parts.normalizer = read_normalizer(document.at("normalizer"));
  if (document.has("pre_tokenizer")) parts.pre_tokenizer = read_pre_tokenizer(document.at("pre_tokenizer"));
  if (document.has("post_processor"))
    parts.post_processor = read_post_processor(document.at("post_processor"));
  if (document.has("decoder")) parts.decoder = read_decoder(document.at("decoder"));
  parts.model = read_model(document.at("model"));
  Json added = document.find("added_tokens");
  for (int64_t index = 0; index < added.size(); ++index) {
    Json token = added[index];
    token.ignore({"id"});  // the reference library counts by itself
    parts.added.add(read_added_token(token, false), *parts.model);
  }
  return parts;
}

}  // namespace vlm
