#include "train/bpe_trainer.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace vlm {
namespace {

using Pair = std::pair<std::string, std::string>;
using Json = nlohmann::ordered_json;

const std::string space_mark = "\xE2\x96\x81";  // U+2581

struct Word {
  std::vector<std::string> pieces;
  int64_t count;
};

bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}
bool is_capital(char c) {
  return std::isupper(static_cast<unsigned char>(c)) != 0;
}

bool has_only_letters(const std::string& text) {
  return std::all_of(text.begin(), text.end(), is_letter);
}

bool may_merge(const Pair& pair) {
  const auto& [left, right] = pair;
  if (!has_only_letters(right)) return false;
  if (left == space_mark) return !(right.size() == 1 && is_capital(right[0]));
  std::string letters = left.starts_with(space_mark) ? left.substr(space_mark.size()) : left;
  return has_only_letters(letters) && !is_capital(right[0]);
}

// Each word once, with its space mark, cut into characters.
std::vector<Word> words_of(const std::vector<std::string>& texts) {
  std::map<std::string, int64_t> counts;
  for (const std::string& text : texts) {
    std::string word = space_mark;
    for (char letter : text + " ") {
      if (letter != ' ') {
        word += letter;
        continue;
      }
      ++counts[word];
      word = space_mark;
    }
  }
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word word{{space_mark}, count};
    for (size_t at = space_mark.size(); at < text.size(); ++at) word.pieces.emplace_back(1, text[at]);
    words.push_back(std::move(word));
  }
  return words;
}

void apply(const Pair& pair, Word& word) {
  std::vector<std::string> pieces;
  for (size_t i = 0; i < word.pieces.size(); ++i) {
    if (i + 1 < word.pieces.size() && word.pieces[i] == pair.first && word.pieces[i + 1] == pair.second) {
      pieces.push_back(pair.first + pair.second);
      ++i;
    } else {
      pieces.push_back(word.pieces[i]);
    }
  }
  word.pieces = std::move(pieces);
}

Json special_token(int64_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

Json bare_token(const std::string& content) {
  return {{"content", content},
          {"lstrip", false},
          {"normalized", false},
          {"rstrip", false},
          {"single_word", false}};
}

}  // namespace

BpeVocabulary train_bpe(const std::vector<std::string>& texts, const BpeOptions& options) {
  constexpr int64_t least = 3 + 256 + 95 + 1 + 2;  // special tokens, bytes, characters, <image> and <pad>
  if (options.vocab_size < least) {
    fail(ErrorKind::bad_request, "choose a larger vocabulary",
         "a vocabulary of {} tokens does not hold the {} that every text needs", options.vocab_size, least);
  }
  BpeVocabulary result;
  std::set<std::string> known;
  auto add = [&](const std::string& token) {
    if (known.insert(token).second) result.tokens.push_back(token);
  };
  for (const char* token : {"<unk>", "<s>", "</s>"}) add(token);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte));
  add(space_mark);
  for (char letter = '!'; letter <= '~'; ++letter) add(std::string(1, letter));

  auto merge = [&](const Pair& pair) {
    result.merges.push_back(pair);
    add(pair.first + pair.second);
  };
  for (const std::string& role : options.role_words) {
    std::string tail = role.substr(role.size() - 1);
    for (size_t at = role.size() - 1; at-- > 0;) {
      std::string head(1, role[at]);
      if (!known.contains(head + tail)) merge({head, tail});
      tail = head + tail;
    }
    merge({space_mark, tail});
  }

  std::vector<Word> words = words_of(texts);
  while (static_cast<int64_t>(result.tokens.size()) + 2 < options.vocab_size) {
    std::map<Pair, int64_t> counts;
    for (const Word& word : words) {
      for (size_t i = 0; i + 1 < word.pieces.size(); ++i)
        counts[{word.pieces[i], word.pieces[i + 1]}] += word.count;
    }
    const Pair* best = nullptr;
    int64_t best_count = options.least_count - 1;
    for (const auto& [pair, count] : counts) {  // equal counts: the first by the alphabet
      if (count > best_count && may_merge(pair)) {
        best = &pair;
        best_count = count;
      }
    }
    if (!best) break;
    merge(*best);
    for (Word& word : words) apply(*best, word);
  }
  result.image_id = static_cast<int64_t>(result.tokens.size());
  add("<image>");
  result.pad_id = static_cast<int64_t>(result.tokens.size());
  add("<pad>");
  return result;
}

void write_llama_tokenizer(const std::filesystem::path& folder, const BpeVocabulary& vocabulary) {
  std::vector<std::pair<int64_t, std::string>> special = {
      {0, "<unk>"}, {1, "<s>"}, {2, "</s>"}, {vocabulary.image_id, "<image>"}, {vocabulary.pad_id, "<pad>"}};
  Json added = Json::array(), decoder = Json::object();
  for (const auto& [id, content] : special) {
    Json token = special_token(id, content);
    added.push_back(token);
    token.erase("id");
    decoder[std::to_string(id)] = token;
  }
  Json vocab = Json::object(), merges = Json::array();
  // <image> and <pad> are added tokens only, as the published files have it.
  for (int64_t id = 0; id < vocabulary.image_id; ++id) vocab[vocabulary.tokens[static_cast<size_t>(id)]] = id;
  for (const auto& [left, right] : vocabulary.merges) merges.push_back(left + " " + right);

  Json start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  Json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json second_start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 1}}}};
  Json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  Json replace_space = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space_mark}};
  Json replace_mark = {{"type", "Replace"}, {"pattern", {{"String", space_mark}}}, {"content", " "}};
  Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", Json::array({{{"type", "Prepend"}, {"prepend", space_mark}}, replace_space})}}},
      {"pre_tokenizer", nullptr},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({start, first})},
        {"pair", Json::array({start, first, second_start, second})},
        {"special_tokens",
         {{"<s>", {{"id", "<s>"}, {"ids", Json::array({1})}, {"tokens", Json::array({"<s>"})}}}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", Json::array({replace_mark,
                                  {{"type", "ByteFallback"}},
                                  {{"type", "Fuse"}},
                                  {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", "<unk>"},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", merges}}}};
  Json config = {{"add_bos_token", true},
                 {"add_eos_token", false},
                 {"added_tokens_decoder", decoder},
                 {"bos_token", "<s>"},
                 {"clean_up_tokenization_spaces", false},
                 {"eos_token", "</s>"},
                 {"legacy", true},
                 {"model_max_length", 2048},
                 {"pad_token", "<pad>"},
                 {"padding_side", "left"},
                 {"processor_class", "LlavaProcessor"},
                 {"tokenizer_class", "LlamaTokenizer"},
                 {"unk_token", "<unk>"},
                 {"use_default_system_prompt", false}};
  Json map = {{"bos_token", bare_token("<s>")},
              {"eos_token", bare_token("</s>")},
              {"pad_token", bare_token("<pad>")},
              {"unk_token", bare_token("<unk>")}};
  write_text(folder / "tokenizer.json", tokenizer.dump(2) + "\n");
  write_text(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_text(folder / "special_tokens_map.json", map.dump(2) + "\n");
}

}  // namespace vlm
