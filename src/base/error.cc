#include "base/error.h"

#include <algorithm>

namespace vlm {

const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_request:
      return "bad_request";
    case ErrorKind::not_found:
      return "not_found";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::bad_checkpoint:
      return "bad_checkpoint";
    case ErrorKind::out_of_resources:
      return "out_of_resources";
    case ErrorKind::internal:
      return "internal";
  }
  return "internal";
}

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)) {
  text_ = hint_.empty() ? message_ : message_ + "\n  hint: " + hint_;
}

Error Error::with_context(const std::string& where) const {
  return Error(kind_, where + ": " + message_, hint_);
}

void fail_check(const char* condition, const char* file, int line, const std::string& detail) {
  throw Error(ErrorKind::internal,
              fmt::format("internal error at {}:{}: {} does not hold{}{}", file, line, condition,
                          detail.empty() ? "" : ": ", detail),
              "this is a bug of vlm; please report it with the command and `vlm doctor`");
}

std::string nearest_word(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);  // Levenshtein distance, one row at a time
    for (size_t column = 0; column <= candidate.size(); ++column) row[column] = column;
    for (size_t letter = 1; letter <= word.size(); ++letter) {
      size_t diagonal = row[0];
      row[0] = letter;
      for (size_t column = 1; column <= candidate.size(); ++column) {
        size_t substitution = diagonal + (word[letter - 1] != candidate[column - 1]);
        diagonal = row[column];
        row[column] = std::min({substitution, row[column] + 1, row[column - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace vlm
