#include "text/sentencepiece_tokenizer.h"

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

namespace {

constexpr const char* kMetaspace = "\xe2\x96\x81";

// A model whose text is changed first, and which keeps leading blanks that SentencePiece would strip: the
// text is encoded behind the unknown token's text, whose ids are then dropped.
class GuardedModel : public TokenModel {
 public:
  GuardedModel(std::shared_ptr<const SentencePiece> model, std::string guard, bool guard_blanks_only,
               std::function<std::string(std::string_view)> change)
      : model_(std::move(model)),
        guard_(std::move(guard)),
        blanks_only_(guard_blanks_only),
        change_(std::move(change)) {
    std::vector<int64_t> ids;
    model_->encode(guard_, ids);
    guard_ids_ = ids.size();
  }

  void encode(std::string_view text, std::vector<int64_t>& ids) const override {
    std::string changed = change_ ? change_(text) : std::string(text);
    if (blanks_only_ && !changed.starts_with(kMetaspace) && !changed.starts_with(' ')) {
      model_->encode(changed, ids);
      return;
    }
    std::vector<int64_t> guarded;
    model_->encode(guard_ + changed, guarded);
    size_t dropped = guarded.size() >= guard_ids_ ? guard_ids_ : 0;
    ids.insert(ids.end(), guarded.begin() + static_cast<std::ptrdiff_t>(dropped), guarded.end());
  }
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return model_->token_to_id(token);
  }
  const std::string& id_to_token(int64_t id) const override { return model_->id_to_token(id); }
  int64_t size() const override { return model_->size(); }

 private:
  std::shared_ptr<const SentencePiece> model_;
  std::string guard_;
  size_t guard_ids_ = 0;
  bool blanks_only_;
  std::function<std::string(std::string_view)> change_;
};

// fairseq's vocabulary: four special tokens in front, the model's own three left out, the rest moved by one.
class FairseqModel : public TokenModel {
 public:
  explicit FairseqModel(std::shared_ptr<const SentencePiece> model) : model_(std::move(model)) {}

  void encode(std::string_view text, std::vector<int64_t>& ids) const override {
    std::vector<int64_t> inner;
    model_->encode(text, inner);
    for (int64_t id : inner) ids.push_back(id == model_->unk_id() ? 3 : id + 1);
  }
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    for (int64_t id = 0; id < 4; ++id)
      if (token == kSpecial[id]) return id;
    auto id = model_->token_to_id(token);
    if (!id || *id == model_->unk_id()) return std::nullopt;
    return *id + 1;
  }
  const std::string& id_to_token(int64_t id) const override {
    static const std::string special[] = {"<s>", "<pad>", "</s>", "<unk>"};
    return id >= 0 && id < 4 ? special[id] : model_->id_to_token(id - 1);
  }
  int64_t size() const override { return model_->size() + 1; }

 private:
  static constexpr const char* kSpecial[] = {"<s>", "<pad>", "</s>", "<unk>"};
  std::shared_ptr<const SentencePiece> model_;
};

std::string with_prefix(std::string text) {
  if (text.empty()) return text;
  Piece piece{std::move(text), true};
  static const Normalizer blanks = normalizers::replace(kMetaspace, " ");
  blanks(piece);
  return kMetaspace + piece.text;
}

}  // namespace

std::string canonical_caption(std::string_view text, bool lower_case) {
  std::string lower = lower_case ? lower_with_final_sigma(text) : std::string(text);
  std::string caption;
  bool blank = false;
  for (size_t at = 0, length; at < lower.size(); at += length) {
    char32_t letter = decode_char(lower, at, length);
    if (is_ascii_punctuation(letter)) continue;
    // Python's \s also takes the four information separators.
    if (is_white_space(letter) || (letter >= 0x1c && letter <= 0x1f)) {
      blank = true;
      continue;
    }
    if (blank && !caption.empty()) caption += ' ';
    blank = false;
    caption.append(lower, at, length);
  }
  return caption;
}

TokenizerParts sentencepiece_parts(SentencePieceData data, const Json& config, const std::string& where) {
  std::string kind = config.get("tokenizer_class", "");
  bool is_siglip = kind.starts_with("Siglip");
  bool is_t5 = kind.starts_with("T5") || kind.starts_with("MT5");
  bool is_fairseq = kind.starts_with("XLMRoberta") || kind.starts_with("Camembert");
  bool legacy = is_siglip || is_fairseq || config.get("legacy", true);
  bool strips = data.add_dummy_prefix;
  if (!legacy) data.add_dummy_prefix = false;

  auto token = [&](const char* key, const char* fallback) {
    Json value = config.find(key);
    return value.is_null() ? std::string(fallback) : read_added_token(value, true).content;
  };
  std::string unk = token("unk_token", "<unk>");
  std::string bos = token("bos_token", "<s>");
  std::string eos = token("eos_token", "</s>");
  if (!is_siglip && !is_t5 && !is_fairseq) {
    auto piece = [&](int64_t id, const std::string& name) {
      return id >= 0 && id < static_cast<int64_t>(data.pieces.size())
                 ? data.pieces[static_cast<size_t>(id)].text
                 : name;
    };
    if (!config.has("bos_token")) bos = piece(data.bos_id, bos);
    if (!config.has("eos_token")) eos = piece(data.eos_id, eos);
  }
  bool removes_blanks = data.remove_extra_whitespaces;
  auto model = std::make_shared<const SentencePiece>(std::move(data), where);

  TokenizerParts parts;
  parts.model = model;
  if (is_fairseq) parts.model = std::make_shared<FairseqModel>(model);
  if (is_siglip) {
    bool lower_case = config.get("do_lower_case", true);
    parts.model = std::make_shared<GuardedModel>(model, unk, false, [lower_case](std::string_view text) {
      return canonical_caption(text, lower_case);
    });
  } else if (!legacy) {
    parts.model = std::make_shared<GuardedModel>(model, unk, true, nullptr);
  }

  auto id_of = [&](const std::string& content) -> std::vector<int64_t> {
    auto id = parts.model->token_to_id(content);
    return id ? std::vector{*id} : std::vector<int64_t>();
  };
  for (const std::string& content : {unk, bos, eos}) {
    if (id_of(content).empty()) continue;
    AddedToken added;
    added.content = content;
    added.special = true;
    added.normalized = false;
    added.lstrip = added.rstrip = is_siglip;
    parts.added.add(added, *parts.model);
  }
  if (is_siglip || is_t5) {
    if (id_of(eos).empty())
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: the eos_token \"{}\" is not in the model", where, eos);
    parts.post_processor = post_processors::eos_once(id_of(eos)[0]);
  } else if (is_fairseq) {
    parts.post_processor = post_processors::roberta(0, 2);
  } else {
    parts.post_processor =
        post_processors::bos_eos(config.get("add_bos_token", true) ? id_of(bos) : std::vector<int64_t>(),
                                 config.get("add_eos_token", false) ? id_of(eos) : std::vector<int64_t>());
  }
  if (is_siglip || !legacy) {
    parts.prepare = with_prefix;
    parts.lone_prefix_id = parts.model->token_to_id(kMetaspace);
  }
  std::vector<Decoder> steps = {decoders::replace(kMetaspace, " "), decoders::byte_fallback(),
                                decoders::fuse()};
  if (strips) steps.push_back(decoders::strip(" ", 1, 0));
  if (removes_blanks) steps.push_back(decoders::strip(" ", int64_t{1} << 30, 0));
  parts.decoder = decoders::sequence(std::move(steps));
  return parts;
}

}  // namespace vlm
