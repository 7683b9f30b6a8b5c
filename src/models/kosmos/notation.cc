#include "models/kosmos/notation.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace vlm::kosmos {

namespace {

constexpr int64_t kCells = 32;  // along each side
constexpr std::string_view kPhrase = "<phrase>", kPhraseEnd = "</phrase>", kObject = "<object>",
                           kObjectEnd = "</object>", kPatch = "<patch_index_",
                           kNext = "</delimiter_of_multi_objects/>", kBlanks = " \t\n\r\v\f";

using Cells = std::pair<int64_t, int64_t>;

// Reads from the front of a text what it can, and remembers where it is.
struct Reader {
  std::string_view text;
  size_t at = 0;

  bool take(std::string_view word) {
    if (text.substr(at, word.size()) != word) return false;
    at += word.size();
    return true;
  }
  std::optional<int64_t> cell() {
    if (!take(kPatch)) return std::nullopt;
    int64_t value = 0;
    size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && value < kCells * kCells)
      value = value * 10 + (text[at++] - '0');
    if (at == begin || !take(">") || value >= kCells * kCells) return std::nullopt;
    return value;
  }
  // <object> pair (delimiter pair)* </object>; empty when it is anything else.
  std::vector<Cells> object() {
    std::vector<Cells> pairs;
    if (!take(kObject)) return {};
    do {
      std::optional<int64_t> first = cell(), second;
      if (first) second = cell();
      if (!second) return {};
      pairs.emplace_back(*first, *second);
    } while (take(kNext));
    return take(kObjectEnd) ? pairs : std::vector<Cells>();
  }
};

// Corners of cells where the box is one cell, row or column wide; else centres. Ref: unilm kosmos-2
// decode_string.py.
std::array<double, 4> box_of(Cells cells, int64_t height, int64_t width) {
  int64_t x0 = cells.first % kCells, y0 = cells.first / kCells, x1 = cells.second % kCells,
          y1 = cells.second / kCells;
  bool is_thin = x0 == x1 || y0 == y1;
  double before = is_thin ? 0 : 0.5, behind = is_thin ? 1 : 0.5;
  double scale_x = static_cast<double>(width) / kCells, scale_y = static_cast<double>(height) / kCells;
  return {(static_cast<double>(x0) + before) * scale_x, (static_cast<double>(y0) + before) * scale_y,
          (static_cast<double>(x1) + behind) * scale_x, (static_cast<double>(y1) + behind) * scale_y};
}

int64_t num_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char byte) { return (byte & 0xc0) != 0x80; });
}

int64_t num_leading_blanks(std::string_view text) {
  return static_cast<int64_t>(std::min(text.find_first_not_of(kBlanks), text.size()));
}

std::string_view stripped(std::string_view text) {
  text.remove_prefix(static_cast<size_t>(num_leading_blanks(text)));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

}  // namespace

std::string cells_of(const std::array<double, 4>& box, int64_t height, int64_t width) {
  auto cell = [](double row, double column) {
    auto inside = [](double value) {
      return std::clamp<int64_t>(static_cast<int64_t>(value), 0, kCells - 1);
    };
    return fmt::format("<patch_index_{:04}>", inside(row) * kCells + inside(column));
  };
  double x_scale = kCells / static_cast<double>(width), y_scale = kCells / static_cast<double>(height);
  return cell(std::floor(box[1] * y_scale), std::floor(box[0] * x_scale)) +
         cell(std::ceil(box[3] * y_scale - 1), std::ceil(box[2] * x_scale - 1));
}

std::string insert_boxes(const std::string& text, const std::vector<std::array<double, 4>>& boxes,
                         int64_t height, int64_t width) {
  if (boxes.empty()) return text;
  std::string filled;
  size_t next = 0, begin = 0, num_phrases = 0;
  for (size_t end = text.find(kPhraseEnd); end != std::string::npos; end = text.find(kPhraseEnd, begin)) {
    end += kPhraseEnd.size();
    filled += text.substr(begin, end - begin);
    begin = end;
    if (std::string_view(text).substr(end).starts_with(kObject)) continue;
    ++num_phrases;
    if (next < boxes.size())
      filled += std::string(kObject) + cells_of(boxes[next++], height, width) + std::string(kObjectEnd);
  }
  if (num_phrases != boxes.size())
    fail(ErrorKind::bad_request,
         "put what each box shows into <phrase>...</phrase>: \"<phrase> it</phrase> is\"",
         "the prompt has {} phrase{} without a place, but {} box{} given", num_phrases,
         num_phrases == 1 ? "" : "s", boxes.size(), boxes.size() == 1 ? " was" : "es were");
  return filled + text.substr(begin);
}

ParsedAnswer read_notation(const std::string& text, int64_t height, int64_t width) {
  ParsedAnswer answer;
  std::string clean;
  std::optional<std::pair<size_t, size_t>> phrase;  // of `clean`, while nothing has come behind it
  auto add = [&](const std::vector<Cells>& places) {
    size_t begin = phrase ? phrase->first : clean.size(), end = phrase ? phrase->second : clean.size();
    std::string_view words = std::string_view(clean).substr(begin, end - begin), label = stripped(words);
    int64_t first = num_characters(std::string_view(clean).substr(0, begin)) + num_leading_blanks(words);
    for (Cells cells : places) {
      Region region;
      region.label = label;
      region.box_xyxy = box_of(cells, height, width);
      region.text_span = {first, first + num_characters(label)};
      answer.regions.push_back(std::move(region));
    }
  };
  for (Reader reader{text}; reader.at < text.size();) {
    Reader ahead = reader;
    if (std::vector<Cells> places = ahead.object(); !places.empty()) {
      add(places);
      phrase.reset(), reader = ahead;
      continue;
    }
    phrase.reset();
    size_t end = text[reader.at] == '<' ? text.find('>', reader.at) : std::string::npos;
    if (end == std::string::npos) {  // words
      clean += text[reader.at++];
      continue;
    }
    if (reader.take(kPhrase)) {
      size_t begin = clean.size(), stop = text.find('<', reader.at);
      std::string_view words = std::string_view(text).substr(reader.at, stop - reader.at);
      clean += words;
      reader.at += words.size();
      if (!words.empty() && reader.take(kPhraseEnd)) phrase = {begin, clean.size()};
      continue;
    }
    reader.at = end + 1;  // any other tag
  }
  int64_t leading = num_leading_blanks(clean);
  for (Region& region : answer.regions)
    for (int64_t& place : *region.text_span) place = std::max<int64_t>(place - leading, 0);
  answer.text = stripped(clean);
  return answer;
}

std::string settled_text(const std::string& text) {
  size_t tag = text.rfind('>'), open = text.find('<', tag == std::string::npos ? 0 : tag);
  return read_notation(text.substr(0, open), 1, 1).text;
}

}  // namespace vlm::kosmos
