#include "text/gguf_tokenizer.h"

#include <map>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_level_bpe.h"
#include "text/pipeline.h"
#include "text/sentencepiece.h"
#include "text/word_models.h"

namespace vlm {

namespace {

constexpr const char* kMetaspace = "\xe2\x96\x81";

const std::string& token_at(const GgufTokenizer& values, int64_t id) {
  return values.tokens[static_cast<size_t>(id)];
}

int32_t type_at(const GgufTokenizer& values, size_t index) {
  return values.token_types.empty() ? 1 : values.token_types[index];
}

// Control and user-defined tokens are recognised in the text.
void add_special_tokens(const GgufTokenizer& values, bool user_defined, TokenizerParts& parts) {
  for (size_t index = 0; index < values.tokens.size(); ++index) {
    int32_t type = type_at(values, index);
    bool special = type == 3 || type == 2;
    if (!special && !(user_defined && type == 4)) continue;
    AddedToken token;
    token.content = values.tokens[index];
    token.special = special;
    token.normalized = false;
    parts.added.add(token, *parts.model, static_cast<int64_t>(index));
  }
}

void add_bos_eos(const GgufTokenizer& values, bool default_bos, bool default_eos, TokenizerParts& parts) {
  auto ids = [&](std::optional<int64_t> id, bool wanted) {
    return wanted && id ? std::vector{*id} : std::vector<int64_t>();
  };
  parts.post_processor = post_processors::bos_eos(ids(values.bos_id, values.add_bos.value_or(default_bos)),
                                                  ids(values.eos_id, values.add_eos.value_or(default_eos)));
}

TokenizerParts sentencepiece(const GgufTokenizer& values) {
  SentencePieceData data;
  bool is_bpe = values.model == "llama";
  data.type = is_bpe ? SentencePieceData::Type::bpe : SentencePieceData::Type::unigram;
  data.add_dummy_prefix = values.add_space_prefix;
  data.remove_extra_whitespaces = values.remove_extra_whitespaces;
  data.charsmap = values.precompiled_charsmap;
  if (values.scores.size() != values.tokens.size())
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "tokenizer.ggml.scores has {} entries, tokenizer.ggml.tokens {}", values.scores.size(),
         values.tokens.size());
  bool has_unknown = false;
  for (size_t index = 0; index < values.tokens.size(); ++index) {
    SentencePieceData::Piece piece{values.tokens[index], values.scores[index],
                                   static_cast<SentencePieceData::PieceType>(type_at(values, index))};
    if (static_cast<int64_t>(index) == values.unk_id) piece.type = SentencePieceData::PieceType::unknown;
    has_unknown = has_unknown || piece.type == SentencePieceData::PieceType::unknown;
    data.byte_fallback = data.byte_fallback || piece.type == SentencePieceData::PieceType::byte;
    data.pieces.push_back(std::move(piece));
  }
  if (!has_unknown) data.pieces[0].type = SentencePieceData::PieceType::unknown;
  bool strips = data.add_dummy_prefix;
  TokenizerParts parts;
  parts.model = std::make_shared<SentencePiece>(std::move(data), "tokenizer.ggml");
  add_special_tokens(values, true, parts);
  add_bos_eos(values, is_bpe, !is_bpe, parts);
  std::vector<Decoder> steps = {decoders::replace(kMetaspace, " "), decoders::byte_fallback(),
                                decoders::fuse()};
  if (strips) steps.push_back(decoders::strip(" ", 1, 0));
  parts.decoder = decoders::sequence(std::move(steps));
  return parts;
}

struct PreKind {
  const char* pattern;
  bool nfc = false;
  bool ignore_merges = false;
  bool single_digits = false;  // cut out before the pattern
};

PreKind pre_kind(const std::string& name) {
  static const std::map<std::string, PreKind> kinds = {
      {"", {kGpt2Pattern}},
      {"default", {kGpt2Pattern}},
      {"gpt-2", {kGpt2Pattern}},
      {"gpt2", {kGpt2Pattern}},
      {"phi-2", {kGpt2Pattern}},
      {"mpt", {kGpt2Pattern, true}},
      {"olmo", {kGpt2Pattern, true}},
      {"roberta-bpe", {kGpt2Pattern}},
      {"llama3", {kLlama3Pattern, false, true}},
      {"llama-v3", {kLlama3Pattern, false, true}},
      {"llama-bpe", {kLlama3Pattern, false, true}},
      {"smaug-bpe", {kLlama3Pattern}},
      {"dbrx", {kLlama3Pattern}},
      {"qwen2", {kQwen2Pattern, true}},
      {"stablelm2", {kQwen2Pattern, true}},
      {"deepseek-r1-qwen", {kQwen2Pattern, true}},
      {"gpt-4o", {kGpt4oPattern}},
      {"smollm", {kGpt2Pattern, false, false, true}},
      {"starcoder", {kGpt2Pattern, false, false, true}},
      {"refact", {kGpt2Pattern, false, false, true}},
  };
  auto found = kinds.find(name);
  if (found == kinds.end())
    fail(ErrorKind::unsupported, "use the original checkpoint, whose tokenizer.json tells the pattern",
         "tokenizer.ggml.pre = \"{}\" is not known", name);
  return found->second;
}

TokenizerParts byte_level(const GgufTokenizer& values) {
  PreKind kind = pre_kind(values.pre);
  Vocabulary vocabulary;
  for (size_t index = 0; index < values.tokens.size(); ++index)
    vocabulary.add(values.tokens[index], static_cast<int64_t>(index), "tokenizer.ggml.tokens");
  vocabulary.index();
  std::vector<std::pair<std::string, std::string>> merges;
  for (const std::string& line : values.merges) merges.push_back(split_merge(line, "tokenizer.ggml.merges"));
  BpeOptions options;
  options.ignore_merges = kind.ignore_merges;
  TokenizerParts parts;
  if (kind.nfc) parts.normalizer = normalizers::nfc();
  parts.pre_tokenizer = byte_level_split(kind.pattern, false);
  if (kind.single_digits)
    parts.pre_tokenizer = pre_tokenizers::sequence({pre_tokenizers::digits(true), parts.pre_tokenizer});
  parts.model = std::make_shared<Bpe>(std::move(vocabulary), merges, std::move(options), "tokenizer.ggml");
  parts.decoder = decoders::byte_level();
  add_special_tokens(values, true, parts);
  add_bos_eos(values, kind.ignore_merges, false, parts);
  return parts;
}

TokenizerParts word_piece(const GgufTokenizer& values) {
  // The writer marks tokens that begin a word; BERT marks those that continue one.
  Vocabulary vocabulary;
  std::string_view mark = kMetaspace;
  for (size_t index = 0; index < values.tokens.size(); ++index) {
    std::string_view token = values.tokens[index];
    bool plain = type_at(values, index) != 1 || (token.starts_with('[') && token.ends_with(']'));
    std::string text = plain                     ? std::string(token)
                       : token.starts_with(mark) ? std::string(token.substr(mark.size()))
                                                 : "##" + std::string(token);
    vocabulary.add(std::move(text), static_cast<int64_t>(index), "tokenizer.ggml.tokens");
  }
  vocabulary.index();
  auto id = [&](std::optional<int64_t> given, const char* name) {
    auto found = given ? given : vocabulary.find(name);
    if (!found)
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
           "tokenizer.ggml: the token {} is missing", name);
    return *found;
  };
  int64_t cls = id(values.cls_id ? values.cls_id : values.bos_id, "[CLS]");
  int64_t sep = id(values.sep_id ? values.sep_id : values.eos_id, "[SEP]");
  std::string unk = values.unk_id ? token_at(values, *values.unk_id) : "[UNK]";
  TokenizerParts parts;
  parts.normalizer = normalizers::bert(true, true, true, true);
  parts.pre_tokenizer = pre_tokenizers::bert();
  parts.post_processor = post_processors::bert(cls, sep);
  parts.decoder = decoders::word_piece("##", true);
  parts.model = std::make_shared<WordPiece>(std::move(vocabulary), unk, "##", 100, "tokenizer.ggml.tokens");
  add_special_tokens(values, true, parts);
  return parts;
}

}  // namespace

std::shared_ptr<const Tokenizer> tokenizer_from_gguf(const GgufTokenizer& values) {
  auto size = static_cast<int64_t>(values.tokens.size());
  if (size == 0 || size > kMaxTokens)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "tokenizer.ggml.tokens has {} entries, expected 1 to {}", size, kMaxTokens);
  if (!values.token_types.empty() && values.token_types.size() != values.tokens.size())
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens {}", values.token_types.size(),
         size);
  for (int32_t type : values.token_types)
    if (type < 1 || type > 6)
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
           "tokenizer.ggml.token_type holds {}, expected 1 to 6", type);
  for (auto id : {values.bos_id, values.eos_id, values.unk_id, values.cls_id, values.sep_id})
    if (id && (*id < 0 || *id >= size))
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
           "tokenizer.ggml: the special token id {} is out of range (there are {} tokens)", *id, size);
  if (values.model == "llama" || values.model == "t5") return make_tokenizer(sentencepiece(values));
  if (values.model == "gpt2") return make_tokenizer(byte_level(values));
  if (values.model == "bert") return make_tokenizer(word_piece(values));
  fail(ErrorKind::unsupported, "use the original checkpoint with its tokenizer.json",
       "tokenizer.ggml.model = \"{}\" is not implemented (known: llama, gpt2, bert, t5)", values.model);
}

}  // namespace vlm
