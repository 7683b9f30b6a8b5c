// Finds the tokenizer of a checkpoint folder, and what the files beside it say.

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "text/byte_level_bpe.h"
#include "text/pipeline.h"
#include "text/sentencepiece_tokenizer.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;

Json read_optional(const fs::path& path) {
  return fs::exists(path) ? Json::read_file(path) : Json();
}

// The named special tokens, from tokenizer_config.json or special_tokens_map.json.
std::optional<AddedToken> named_token(const Json& config, const Json& map, const char* key) {
  for (const Json& source : {config, map}) {
    Json value = source.find(key);
    if (value.is_string() || value.is_object()) return read_added_token(value, true);
  }
  return std::nullopt;
}

std::vector<AddedToken> special_tokens(const Json& config, const Json& map) {
  std::vector<AddedToken> tokens;
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    if (auto token = named_token(config, map, key)) tokens.push_back(*token);
  for (const Json& source : {config, map}) {
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      Json list = source.find(key);
      if (list.is_object())  // newer files name them
        for (const std::string& name : list.keys()) tokens.push_back(read_added_token(list.at(name), true));
      for (int64_t index = 0; list.is_array() && index < list.size(); ++index)
        tokens.push_back(read_added_token(list[index], true));
    }
  }
  for (AddedToken& token : tokens) token.special = true;
  return tokens;
}

int64_t parse_id(const std::string& text, const std::string& where) {
  bool digits = !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == text.npos;
  if (!digits)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: expected a token id, found \"{}\"", where, text);
  return std::stoll(text);
}

// added_tokens_decoder, added_tokens.json and the special tokens. `keep_ids`: tokens that are new get the ids
// of the files; tokenizer.json counts by itself.
void add_tokens(const fs::path& folder, const Json& config, const Json& map, bool keep_ids,
                TokenizerParts& parts) {
  std::vector<std::pair<int64_t, AddedToken>> listed;
  std::vector<AddedToken> special = special_tokens(config, map);
  auto is_special = [&](const std::string& content) {
    return std::any_of(special.begin(), special.end(),
                       [&](const auto& token) { return token.content == content; });
  };
  Json decoder = config.find("added_tokens_decoder");
  for (const std::string& key : decoder.keys()) {
    AddedToken token = read_added_token(decoder.at(key), false);
    token.special = token.special || is_special(token.content);
    listed.emplace_back(parse_id(key, decoder.path()), std::move(token));
  }
  if (keep_ids && !decoder.is_object()) {
    Json added = read_optional(folder / "added_tokens.json");
    for (const std::string& content : added.keys()) {
      AddedToken token;
      token.content = content;
      token.special = is_special(content);
      token.normalized = !token.special;
      listed.emplace_back(added.integer(content, 0, kMaxTokens - 1), std::move(token));
    }
  }
  std::sort(listed.begin(), listed.end(),
            [](const auto& left, const auto& right) { return left.first < right.first; });
  for (const auto& [id, token] : listed)
    parts.added.add(token, *parts.model, keep_ids ? std::optional(id) : std::nullopt);
  for (const AddedToken& token : special)
    if (!parts.added.find(token.content)) parts.added.add(token, *parts.model);
}

std::optional<int64_t> first_id(const Json& value) {
  if (value.is_number()) return value.as<int64_t>();
  if (value.is_array() && value.size() > 0 && value[0].is_number()) return value[0].as<int64_t>();
  return std::nullopt;
}

TokenizerInfo read_info(const fs::path& folder, const Json& config, const Json& map,
                        const Tokenizer& tokenizer) {
  TokenizerInfo info;
  info.tokenizer_class = config.get("tokenizer_class", "");
  info.padding_side = config.get("padding_side", "right");
  Json length = config.find("model_max_length");
  if (length.is_number()) {
    double value = length.as<double>();  // a tokenizer without a limit states 1e30
    if (value >= 1 && value < 1e9) info.model_max_length = static_cast<int64_t>(value);
  }
  Json generation = read_optional(folder / "generation_config.json");
  Json model = read_optional(folder / "config.json");
  Json text_model =
      model.is_object() && model.find("text_config").is_object() ? model.find("text_config") : Json();
  auto fill = [&](const char* name, std::string& text, std::optional<int64_t>& id) {
    if (auto token = named_token(config, map, (std::string(name) + "_token").c_str())) {
      text = token->content;
      id = tokenizer.token_to_id(text);
      if (id) return;
    }
    for (const Json& source : {generation, model, text_model}) {
      if (!source.is_object()) continue;
      auto stated = first_id(source.find(std::string(name) + "_token_id"));
      if (!stated || *stated < 0 || *stated >= tokenizer.vocab_size()) continue;
      id = stated;
      if (text.empty()) text = tokenizer.id_to_token(*stated);
      return;
    }
  };
  fill("bos", info.bos_token, info.bos_id);
  fill("eos", info.eos_token, info.eos_id);
  fill("pad", info.pad_token, info.pad_id);
  fill("unk", info.unk_token, info.unk_id);
  return info;
}

// Llama's and Gemma's classes build the special tokens around the text from two switches.
void override_bos_eos(const Json& config, const Json& map, TokenizerParts& parts) {
  std::string kind = config.get("tokenizer_class", "");
  bool switches = kind.starts_with("Llama") || kind.starts_with("CodeLlama") || kind.starts_with("Gemma");
  if (!switches || (!config.has("add_bos_token") && !config.has("add_eos_token"))) return;
  auto ids = [&](const char* key, bool wanted) -> std::vector<int64_t> {
    auto token = named_token(config, map, key);
    if (!wanted || !token) return {};
    auto id = parts.added.find(token->content);
    if (!id) id = parts.model->token_to_id(token->content);
    return id ? std::vector{*id} : std::vector<int64_t>();
  };
  parts.post_processor = post_processors::bos_eos(ids("bos_token", config.get("add_bos_token", true)),
                                                  ids("eos_token", config.get("add_eos_token", false)));
}

// What transformers' classes do to decoded text.
void finish_text(const Json& config, bool is_bpe, TokenizerParts& parts) {
  if (config.get("tokenizer_class", "").starts_with("CLIP")) {
    Normalizer word_end = normalizers::replace("</w>", " ");
    parts.finish_text = [word_end](std::string text) {
      Piece piece{std::move(text), false};
      word_end(piece);
      size_t begin = piece.text.find_first_not_of(" \t\n\r\v\f");
      if (begin == piece.text.npos) return std::string();
      return piece.text.substr(begin, piece.text.find_last_not_of(" \t\n\r\v\f") + 1 - begin);
    };
  } else if (config.get("clean_up_tokenization_spaces", false) && !is_bpe) {
    parts.finish_text = clean_up_spaces;
  }
}

fs::path first_file(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::exists(folder / name)) return folder / name;
  return {};
}

fs::path tiktoken_file(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().extension() == ".tiktoken") found.push_back(entry.path());
  return found.empty() ? fs::path() : *std::min_element(found.begin(), found.end());
}

void add_t5_sentinels(const Json& config, TokenizerParts& parts) {
  int64_t count = config.integer("extra_ids", 0, 10000, 100);
  int64_t size = parts.model->size();
  for (int64_t index = 0; index < count; ++index) {
    AddedToken token;
    token.content = fmt::format("<extra_id_{}>", index);
    token.special = true;
    token.normalized = false;
    if (!parts.added.find(token.content)) parts.added.add(token, *parts.model, size + count - 1 - index);
  }
}

}  // namespace

LoadedTokenizer load_tokenizer(const fs::path& folder, const std::vector<std::string>& special) {
  Json config = read_optional(folder / "tokenizer_config.json");
  Json map = read_optional(folder / "special_tokens_map.json");
  std::string kind = config.get("tokenizer_class", "");
  TokenizerParts parts;
  bool is_bpe = false;
  bool keeps_ids = true;
  if (fs::exists(folder / "tokenizer.json")) {
    Json document = Json::read_file(folder / "tokenizer.json");
    parts = read_tokenizer_json(document);
    is_bpe = document.at("model").has("merges");
    keeps_ids = false;
  } else if (fs::path path =
                 first_file(folder, {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"});
             !path.empty()) {
    std::string where = path.filename().string();
    SentencePieceData data = read_sentencepiece(read_text(path), where);
    is_bpe = data.type == SentencePieceData::Type::bpe;
    parts = sentencepiece_parts(std::move(data), config, where);
  } else if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) {
    parts = read_vocab_and_merges(folder, config);
    is_bpe = true;
  } else if (fs::exists(folder / "vocab.txt")) {
    parts = read_vocab_txt(folder / "vocab.txt", config);
  } else if (fs::path ranks = tiktoken_file(folder); !ranks.empty()) {
    parts = read_tiktoken(ranks);
    is_bpe = true;
  } else {
    fail(ErrorKind::not_found, "copy the tokenizer files of the published checkpoint into the folder",
         "{}: no tokenizer (looked for tokenizer.json, tokenizer.model, spiece.model, "
         "sentencepiece.bpe.model, "
         "vocab.json with merges.txt, vocab.txt, *.tiktoken)",
         folder.string());
  }
  if (keeps_ids && (kind.starts_with("T5") || kind.starts_with("MT5"))) add_t5_sentinels(config, parts);
  with_context(folder.string(), [&] { add_tokens(folder, config, map, keeps_ids, parts); });
  for (const std::string& content : special)
    parts.added.add({.content = content, .normalized = false, .special = true}, *parts.model);
  if (!keeps_ids) override_bos_eos(config, map, parts);
  finish_text(config, is_bpe, parts);
  LoadedTokenizer loaded;
  loaded.tokenizer = make_tokenizer(std::move(parts));
  loaded.info = read_info(folder, config, map, *loaded.tokenizer);
  return loaded;
}

}  // namespace vlm
