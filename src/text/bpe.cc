#include "text/bpe.h"

#include <bit>

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

namespace {

constexpr uint64_t kNoPair = UINT64_MAX;
constexpr std::string_view kMetaspace = "\xe2\x96\x81";

uint64_t pair_key(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

size_t mix(uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;
  return static_cast<size_t>(key ^ key >> 29);
}

}  // namespace

std::string byte_token(int byte) {
  return fmt::format("<0x{:02X}>", byte);
}

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (char letter : token.substr(3, 2)) {
    int digit = letter >= '0' && letter <= '9'   ? letter - '0'
                : letter >= 'A' && letter <= 'F' ? letter - 'A' + 10
                : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::array<int64_t, 256> byte_token_ids(const Vocabulary& vocabulary) {
  std::array<int64_t, 256> ids;
  for (int byte = 0; byte < 256; ++byte)
    ids[static_cast<size_t>(byte)] = vocabulary.find(byte_token(byte)).value_or(-1);
  return ids;
}

bool crosses_metaspace(std::string_view token) {
  for (size_t at = token.find(kMetaspace, 1); at != token.npos; at = token.find(kMetaspace, at + 3))
    if (at < 3 || token.substr(at - 3, 3) != kMetaspace) return true;
  return false;
}

std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where) {
  size_t blank = line.find(' ');
  if (blank == line.npos || line.find(' ', blank + 1) != line.npos)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: expected two tokens with one blank between them, found \"{}\"", where, line.substr(0, 80));
  return {std::string(line.substr(0, blank)), std::string(line.substr(blank + 1))};
}

Bpe::Bpe(Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
         BpeOptions options, const std::string& where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(where) {
  byte_ids_.fill(-1);
  if (options_.byte_fallback) byte_ids_ = byte_token_ids(vocabulary_);
  table_.assign(std::bit_ceil(merges.size() * 2 + 2), {kNoPair, {}});
  bool crosses = false;
  std::string merged;
  const std::string& prefix = options_.continuing_subword_prefix;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string& left = merges[rank].first;
    const std::string& right = merges[rank].second;
    auto id_of = [&](const std::string& token) {
      auto id = vocabulary_.find(token);
      if (!id)
        fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
             "{}: merge {} (\"{}\" \"{}\") needs the token \"{}\", which the vocabulary lacks", where_, rank,
             left.substr(0, 40), right.substr(0, 40), token.substr(0, 80));
      return *id;
    };
    int64_t left_id = id_of(left);
    int64_t right_id = id_of(right);
    merged = left;
    merged.append(right, std::min(prefix.size(), right.size()));
    int64_t merged_id = id_of(merged);
    crosses = crosses || crosses_metaspace(merged);
    add_merge(left_id, right_id, {static_cast<uint32_t>(rank), merged_id});
  }
  splits_at_metaspace_ = !crosses && prefix.empty() && options_.end_of_word_suffix.empty() &&
                         !options_.ignore_merges && vocabulary_.find(kMetaspace);
}

void Bpe::add_merge(int64_t left, int64_t right, Merge merge) {
  uint64_t key = pair_key(left, right);
  size_t mask = table_.size() - 1;
  size_t slot = mix(key) & mask;
  while (table_[slot].first != kNoPair && table_[slot].first != key) slot = (slot + 1) & mask;
  table_[slot] = {key, merge};
}

Merge Bpe::find_merge(int64_t left, int64_t right) const {
  uint64_t key = pair_key(left, right);
  size_t mask = table_.size() - 1;
  for (size_t slot = mix(key) & mask; table_[slot].first != kNoPair; slot = (slot + 1) & mask)
    if (table_[slot].first == key) return table_[slot].second;
  return {};
}

int64_t Bpe::unknown_id() const {
  auto id = vocabulary_.find(options_.unk_token);
  if (!id)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the unk_token \"{}\" is not in the vocabulary", where_, options_.unk_token);
  return *id;
}

void Bpe::encode(std::string_view word, std::vector<int64_t>& ids) const {
  if (splits_at_metaspace_)
    for_each_metaspace_word(word, [&](std::string_view part) { encode_part(part, ids); });
  else
    encode_part(word, ids);
}

void Bpe::encode_part(std::string_view word, std::vector<int64_t>& ids) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    if (auto id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  if (cache_.find(word, ids)) return;
  size_t before = ids.size();
  merge_word(word, ids);
  cache_.insert(word, ids.data() + before, ids.size() - before);
}

void Bpe::merge_word(std::string_view word, std::vector<int64_t>& ids) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  int64_t unknown = -1;  // an unknown token that waits for more of its kind
  size_t unknown_begin = 0;
  size_t unknown_length = 0;
  std::string changed;
  for (size_t at = 0, length; at < word.size(); at += length) {
    length = std::min(char_length(word[at]), word.size() - at);
    std::string_view letter = word.substr(at, length);
    bool is_last = at + length == word.size();
    bool prefixed = at > 0 && !options_.continuing_subword_prefix.empty();
    bool suffixed = is_last && !options_.end_of_word_suffix.empty();
    if (prefixed || suffixed) {
      changed = prefixed ? options_.continuing_subword_prefix : "";
      changed += letter;
      if (suffixed) changed += options_.end_of_word_suffix;
      letter = changed;
    }
    if (auto id = vocabulary_.find(letter)) {
      if (unknown >= 0) add_symbol(symbols, unknown, unknown_begin, unknown_length);
      unknown = -1;
      add_symbol(symbols, *id, at, length);
      continue;
    }
    if (options_.byte_fallback) {
      bool all = true;
      for (char byte : letter) all = all && byte_ids_[static_cast<unsigned char>(byte)] >= 0;
      if (all) {
        for (size_t offset = 0; offset < letter.size(); ++offset)
          add_symbol(symbols, byte_ids_[static_cast<unsigned char>(letter[offset])], at + offset, 1);
        continue;
      }
    }
    if (options_.unk_token.empty()) continue;
    if (unknown >= 0 && options_.fuse_unk) {
      unknown_length += length;
      continue;
    }
    if (unknown >= 0) add_symbol(symbols, unknown, unknown_begin, unknown_length);
    unknown = unknown_id();
    unknown_begin = at;
    unknown_length = length;
  }
  if (unknown >= 0) add_symbol(symbols, unknown, unknown_begin, unknown_length);
  merge_symbols(symbols,
                [this](const Symbol& left, const Symbol& right) { return find_merge(left.id, right.id); });
  for (const Symbol& symbol : symbols)
    if (symbol.length > 0) ids.push_back(symbol.id);
}

bool WordCache::find(std::string_view word, std::vector<int64_t>& ids) const {
  if (word.size() > kMaxWordBytes) return false;
  std::lock_guard lock(mutex_);
  auto found = words_.find(word);
  if (found == words_.end()) return false;
  ids.insert(ids.end(), found->second.begin(), found->second.end());
  return true;
}

void WordCache::insert(std::string_view word, const int64_t* ids, size_t count) const {
  if (word.size() > kMaxWordBytes) return;
  std::lock_guard lock(mutex_);
  if (words_.size() < kMaxWords) words_.emplace(std::string(word), std::vector<int64_t>(ids, ids + count));
}

}  // namespace vlm
