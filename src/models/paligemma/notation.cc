#include "models/paligemma/notation.h"

#include <optional>
#include <string_view>

#include "models/paligemma/mask_decoder.h"

namespace vlm::paligemma {

namespace {

constexpr int64_t kBins = 1024;  // along each side
constexpr std::string_view kBlanks = " \t\n\r\v\f";

// "<loc0102>" at the front of `text`: 102, and what follows it.
std::optional<int64_t> take(std::string_view& text, std::string_view kind, size_t digits) {
  size_t size = 1 + kind.size() + digits + 1;
  if (text.size() < size || text[0] != '<' || text.substr(1, kind.size()) != kind || text[size - 1] != '>')
    return std::nullopt;
  int64_t value = 0;
  for (char digit : text.substr(1 + kind.size(), digits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  text.remove_prefix(size);
  return value;
}

std::vector<int64_t> take_run(std::string_view& text, std::string_view kind, size_t digits, size_t count) {
  std::string_view rest = text;
  std::vector<int64_t> values;
  while (values.size() < count) {
    std::optional<int64_t> value = take(rest, kind, digits);
    if (!value) return {};
    values.push_back(*value);
  }
  text = rest;
  return values;
}

void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
}

std::string_view stripped(std::string_view text) {
  skip_blanks(text);
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

}  // namespace

Notes read_notation(const std::string& text, int64_t height, int64_t width) {
  Notes notes;
  std::string_view rest = text;
  double scale_y = static_cast<double>(height) / kBins, scale_x = static_cast<double>(width) / kBins;
  while (!rest.empty()) {
    std::vector<int64_t> bins = take_run(rest, "loc", 4, 4);
    if (bins.empty()) {
      notes.text += rest.front();
      rest.remove_prefix(1);
      continue;
    }
    Object object;
    skip_blanks(rest);
    object.codes = take_run(rest, "seg", 3, MaskDecoder::kCodes);
    skip_blanks(rest);
    object.region.label = stripped(rest.substr(0, rest.find_first_of(";<>")));
    object.region.box_xyxy = {static_cast<double>(bins[1]) * scale_x, static_cast<double>(bins[0]) * scale_y,
                              static_cast<double>(bins[3]) * scale_x, static_cast<double>(bins[2]) * scale_y};
    notes.objects.push_back(std::move(object));
  }
  notes.text = stripped(notes.text);
  return notes;
}

std::string settled_text(const std::string& text) {
  constexpr size_t kLongest = sizeof "<loc0000>" - 1;
  std::string_view rest = text;
  if (size_t open = rest.rfind('<');
      open != rest.npos && rest.size() - open < kLongest && rest.find('>', open) == rest.npos)
    rest = rest.substr(0, open);
  for (size_t size = rest.size() + 1; rest.size() < size;) {  // marks at the end may go on to a place
    size = rest.size();
    rest = rest.substr(0, rest.find_last_not_of(kBlanks) + 1);
    if (rest.ends_with('>') && rest.find('<') != rest.npos) rest = rest.substr(0, rest.rfind('<'));
  }
  return read_notation(std::string(rest), 1, 1).text;
}

}  // namespace vlm::paligemma
