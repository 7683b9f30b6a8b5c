#include "text/byte_level_bpe.h"

#include "base/error.h"
#include "base/files.h"
#include "text/bpe.h"
#include "text/unicode.h"
#include "text/word_models.h"

namespace vlm {

const char* const kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char* const kQwen2Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
const char* const kLlama3Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char* const kGpt4oPattern =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'"
    "ve|'m|'ll|'d)?|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'"
    "ve|'m|'ll|'d)?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char* const kClipPattern =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

// Calls visit(line, number) for the lines of `text`, without their ends.
template <typename Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size(); ++number) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    visit(line, number);
    begin = end + 1;
  }
}

std::optional<std::string> named_token(const Json& config, const char* key) {
  Json value = config.find(key);
  if (value.is_null()) return std::nullopt;
  return read_added_token(value, true).content;
}

// The special tokens that a class knows when its files do not state them.
void add_named(TokenizerParts& parts, const std::vector<std::string>& contents) {
  for (const std::string& content : contents) {
    if (!parts.model->token_to_id(content)) continue;
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    parts.added.add(token, *parts.model);
  }
}

TokenizerParts clip_parts() {
  TokenizerParts parts;
  parts.normalizer = normalizers::sequence(
      {normalizers::nfc(), normalizers::replace_regex("\\s+", " ", "CLIP"), normalizers::lowercase()});
  parts.pre_tokenizer =
      pre_tokenizers::sequence({pre_tokenizers::split(kClipPattern, SplitBehavior::removed, true, "CLIP"),
                                pre_tokenizers::byte_level(false, true)});
  return parts;
}

}  // namespace

PreTokenizer byte_level_split(const std::string& pattern, bool add_prefix_space) {
  return pre_tokenizers::sequence({pre_tokenizers::split(pattern, SplitBehavior::isolated, false, "pattern"),
                                   pre_tokenizers::byte_level(add_prefix_space, false)});
}

TokenizerParts read_vocab_and_merges(const std::filesystem::path& folder, const Json& config) {
  Vocabulary vocabulary = read_vocabulary(Json::read_file(folder / "vocab.json"));
  std::string text = read_text(folder / "merges.txt");
  Merges merges;
  for_each_line(text, [&](std::string_view line, int64_t number) {
    if (!line.empty() && !line.starts_with("#version"))
      merges.push_back(split_merge(line, fmt::format("merges.txt line {}", number + 1)));
  });
  bool word_ends = !merges.empty() && merges.front().second.ends_with("</w>");
  for (size_t index = 0; index < merges.size() && !word_ends; ++index)
    word_ends = merges[index].second.ends_with("</w>");

  std::string kind = config.get("tokenizer_class", "");
  bool add_prefix_space = config.get("add_prefix_space", false);
  auto token = [&](const char* key, const char* fallback) {
    return named_token(config, key).value_or(fallback);
  };
  auto id_of = [&](const std::string& content) {
    auto id = vocabulary.find(content);
    if (!id)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "vocab.json: the special token \"{}\" is missing", content);
    return *id;
  };
  TokenizerParts parts;
  BpeOptions options;
  if (word_ends || kind.starts_with("CLIP")) {
    parts = clip_parts();
    options.end_of_word_suffix = "</w>";
    options.unk_token = token("unk_token", "<|endoftext|>");
    std::string bos = token("bos_token", "<|startoftext|>");
    std::string eos = token("eos_token", "<|endoftext|>");
    parts.post_processor = post_processors::roberta(id_of(bos), id_of(eos));
  } else if (kind.starts_with("Qwen2")) {
    parts.normalizer = normalizers::nfc();
    parts.pre_tokenizer = byte_level_split(kQwen2Pattern, add_prefix_space);
  } else {
    parts.pre_tokenizer = byte_level_split(kGpt2Pattern, false);
    if (add_prefix_space) parts.pre_tokenizer = pre_tokenizers::byte_level(true, true);
    bool is_roberta =
        kind.starts_with("Roberta") || kind.starts_with("Bart") || kind.starts_with("Longformer");
    if (is_roberta)
      parts.post_processor =
          post_processors::roberta(id_of(token("cls_token", "<s>")), id_of(token("sep_token", "</s>")));
    else if (config.get("add_bos_token", false))
      parts.post_processor = post_processors::bos_eos({id_of(token("bos_token", "<|endoftext|>"))}, {});
  }
  parts.decoder = decoders::byte_level();
  parts.model = std::make_shared<Bpe>(std::move(vocabulary), merges, std::move(options), "merges.txt");
  add_named(parts, {token("bos_token", "<|endoftext|>"), token("eos_token", "<|endoftext|>"),
                    token("unk_token", "<|endoftext|>")});
  return parts;
}

TokenizerParts read_vocab_txt(const std::filesystem::path& path, const Json& config) {
  std::string where = path.filename().string();
  std::string text = read_text(path);
  Vocabulary vocabulary;
  for_each_line(text, [&](std::string_view line, int64_t number) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    vocabulary.add(std::string(line), number, where);
  });
  vocabulary.index();
  auto token = [&](const char* key, const char* fallback) {
    return named_token(config, key).value_or(fallback);
  };
  auto id_of = [&](const std::string& content) {
    auto id = vocabulary.find(content);
    if (!id)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: the token \"{}\" is missing", where, content);
    return *id;
  };
  TokenizerParts parts;
  bool lowercase = config.get("do_lower_case", true);
  parts.normalizer = normalizers::bert(true, config.get("tokenize_chinese_chars", true),
                                       config.get("strip_accents", lowercase), lowercase);
  parts.pre_tokenizer = pre_tokenizers::bert();
  int64_t cls = id_of(token("cls_token", "[CLS]"));
  int64_t sep = id_of(token("sep_token", "[SEP]"));
  parts.post_processor = post_processors::bert(cls, sep);
  parts.decoder = decoders::word_piece("##", true);
  parts.model =
      std::make_shared<WordPiece>(std::move(vocabulary), token("unk_token", "[UNK]"), "##", 100, where);
  add_named(parts, {token("unk_token", "[UNK]"), token("sep_token", "[SEP]"), token("pad_token", "[PAD]"),
                    token("cls_token", "[CLS]"), token("mask_token", "[MASK]")});
  return parts;
}

namespace {

// Byte-pair encoding by ranks: two tokens merge when their concatenation is a token, the lowest id first.
// Token texts are kept in GPT-2's alphabet, as the words are.
class RankedBpe : public TokenModel {
 public:
  explicit RankedBpe(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  void encode(std::string_view word, std::vector<int64_t>& ids) const override {
    if (word.empty()) return;
    if (auto id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return;
    }
    if (cache_.find(word, ids)) return;
    size_t before = ids.size();
    std::vector<Symbol> symbols;
    for (size_t at = 0, length; at < word.size(); at += length) {
      length = static_cast<unsigned char>(word[at]) < 0x80 ? 1 : 2;
      std::string_view letter = word.substr(at, length);
      add_symbol(symbols, vocabulary_.find(letter).value_or(-1), at, letter.size());
    }
    merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> Merge {
      auto id = vocabulary_.find(word.substr(left.begin, left.length + right.length));
      if (!id) return {};
      return {static_cast<uint32_t>(*id), *id};
    });
    for (const Symbol& symbol : symbols)
      if (symbol.length > 0 && symbol.id >= 0) ids.push_back(symbol.id);
    cache_.insert(word, ids.data() + before, ids.size() - before);
  }
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  const std::string& id_to_token(int64_t id) const override { return vocabulary_.token(id); }
  int64_t size() const override { return vocabulary_.size(); }

 private:
  Vocabulary vocabulary_;
  WordCache cache_;
};

}  // namespace

TokenizerParts read_tiktoken(const std::filesystem::path& path) {
  return read_tiktoken(read_text(path), path.filename().string());
}

TokenizerParts read_tiktoken(std::string_view text, const std::string& where) {
  Vocabulary vocabulary;
  for_each_line(text, [&](std::string_view line, int64_t number) {
    if (line.empty()) return;
    size_t blank = line.find(' ');
    std::string_view digits = blank == line.npos ? "" : line.substr(blank + 1);
    bool is_rank =
        !digits.empty() && digits.size() <= 9 && digits.find_first_not_of("0123456789") == digits.npos;
    int64_t rank = is_rank ? std::stoll(std::string(digits)) : -1;
    if (rank < 0 || rank > number + (1 << 16))
      fail(ErrorKind::bad_checkpoint, "the file is damaged or not a tiktoken file; get it again",
           "{} line {}: expected a token in base64 and its rank, found \"{}\"", where, number + 1,
           line.substr(0, 80));
    std::string token = decode_base64(line.substr(0, blank), fmt::format("{} line {}", where, number + 1));
    vocabulary.add(bytes_to_letters(token), rank, where);
  });
  if (vocabulary.size() == 0)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: holds no tokens", where);
  vocabulary.index();
  for (int byte = 0; byte < 256; ++byte)
    if (!vocabulary.find(bytes_to_letters(std::string(1, static_cast<char>(byte)))))
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: no token is the byte {}",
           where, byte);

  TokenizerParts parts;
  int64_t next = vocabulary.size();
  parts.prepare = [](std::string whole) { return normalize(whole, NormalForm::nfc); };
  parts.pre_tokenizer = byte_level_split(kQwen2Pattern, false);
  parts.decoder = decoders::byte_level();
  parts.model = std::make_shared<RankedBpe>(std::move(vocabulary));
  std::vector<std::string> special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int index = 0; index < 205; ++index) special.push_back(fmt::format("<|extra_{}|>", index));
  // Qwen-VL's tags; its text-only sister stops before them.
  for (const char* tag :
       {"<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>", "<imgpad>"})
    special.push_back(tag);
  for (const std::string& content : special) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    parts.added.add(token, *parts.model, next++);
  }
  return parts;
}

}  // namespace vlm
