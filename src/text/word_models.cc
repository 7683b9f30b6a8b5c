#include "text/word_models.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

namespace {

int64_t unknown_id(const Vocabulary& vocabulary, const std::string& token, const std::string& where) {
  auto id = vocabulary.find(token);
  if (!id)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the unk_token \"{}\" is not in the vocabulary", where, token);
  return *id;
}

}  // namespace

WordPiece::WordPiece(Vocabulary vocabulary, std::string unk_token, std::string prefix, int64_t max_chars,
                     const std::string& where)
    : vocabulary_(std::move(vocabulary)),
      unk_token_(std::move(unk_token)),
      prefix_(std::move(prefix)),
      max_chars_(max_chars),
      where_(where) {}

// The longest token first.
bool WordPiece::encode_known(std::string_view word, std::vector<int64_t>& ids) const {
  std::string token;
  for (size_t begin = 0; begin < word.size();) {
    size_t end = std::min(word.size(), begin + vocabulary_.longest());
    while (end < word.size() && end > begin && (word[end] & 0xc0) == 0x80) --end;
    std::optional<int64_t> id;
    while (end > begin) {
      token = begin > 0 ? prefix_ : "";
      token += word.substr(begin, end - begin);
      id = vocabulary_.find(token);
      if (id) break;
      --end;
      while (end > begin && (word[end] & 0xc0) == 0x80) --end;
    }
    if (!id) return false;
    ids.push_back(*id);
    begin = end;
  }
  return true;
}

void WordPiece::encode(std::string_view word, std::vector<int64_t>& ids) const {
  size_t before = ids.size();
  if (static_cast<int64_t>(count_chars(word)) <= max_chars_ && encode_known(word, ids)) return;
  ids.resize(before);
  ids.push_back(unknown_id(vocabulary_, unk_token_, where_));
}

WordLevel::WordLevel(Vocabulary vocabulary, std::string unk_token, const std::string& where)
    : vocabulary_(std::move(vocabulary)), unk_token_(std::move(unk_token)), where_(where) {}

void WordLevel::encode(std::string_view word, std::vector<int64_t>& ids) const {
  auto id = vocabulary_.find(word);
  ids.push_back(id ? *id : unknown_id(vocabulary_, unk_token_, where_));
}

}  // namespace vlm
