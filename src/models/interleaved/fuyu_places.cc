#include "models/interleaved/fuyu_places.h"

#include <cmath>
#include <regex>

#include "base/error.h"

namespace vlm::interleaved {

namespace {

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::vector<double> numbers_in(const std::string& list) {
  std::vector<double> numbers;
  for (size_t begin = 0; begin <= list.size();) {
    size_t end = std::min(list.find(',', begin), list.size());
    std::string word = list.substr(begin, end - begin);
    size_t used = 0;
    try {
      numbers.push_back(std::stod(word, &used));
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || word.find_first_not_of(' ', used) != std::string::npos ||
        !std::isfinite(numbers.back()) || std::abs(numbers.back()) > 1e6)
      fail(ErrorKind::bad_request, "write <box>y1, x1, y2, x2</box> or <point>x, y</point>, in pixels",
           "\"{}\" is no list of pixels", list);
    begin = end + 1;
  }
  return numbers;
}

}  // namespace

std::string scale_places(std::string text, double scale) {
  text = replace_all(replace_all(std::move(text), "<box>", kBoxOpen), "</box>", kBoxClose);
  text = replace_all(replace_all(std::move(text), "<point>", kPointOpen), "</point>", kPointClose);
  auto scale_between = [&](const std::string& open, const std::string& close, size_t count) {
    for (size_t begin = text.find(open); begin != std::string::npos; begin = text.find(open, begin + 1)) {
      size_t first = begin + open.size(), end = text.find(close, first);
      std::vector<double> numbers =
          end == std::string::npos ? std::vector<double>() : numbers_in(text.substr(first, end - first));
      if (numbers.size() != count)
        fail(ErrorKind::bad_request, "write <box>y1, x1, y2, x2</box> or <point>x, y</point>, in pixels",
             "a place of the prompt has {} numbers instead of {}", numbers.size(), count);
      std::string scaled;
      for (double number : numbers)
        scaled += (scaled.empty() ? "" : " ") +
                  std::to_string(static_cast<int64_t>(std::nearbyint(number / 2 * scale)));
      text.replace(first, end - first, scaled);
    }
  };
  scale_between(kBoxOpen, kBoxClose, 4);
  scale_between(kPointOpen, kPointClose, 2);
  return text;
}

std::string write_places(const Tokenizer& tokenizer, std::span<const int64_t> ids) {
  std::string text;
  size_t begin = 0;  // of the run of tokens not yet written
  auto write_run = [&](size_t end) {
    std::string whole = tokenizer.decode(ids.first(end), /*skip_special_tokens=*/false);
    std::string before = tokenizer.decode(ids.first(begin), /*skip_special_tokens=*/false);
    text += whole.substr(std::min(before.size(), whole.size()));
  };
  auto write_place = [&](size_t at, const char* open, const char* close, size_t count, const char* name) {
    if (at + count + 1 >= ids.size() || tokenizer.id_to_token(ids[at]) != open ||
        tokenizer.id_to_token(ids[at + count + 1]) != close)
      return false;
    std::string list;
    for (size_t idx = 1; idx <= count; ++idx)
      list += (idx > 1 ? ", " : "") + tokenizer.id_to_token(ids[at + idx]);
    write_run(at);
    text += fmt::format("<{}>{}</{}>", name, list, name);
    begin = at + count + 2;
    return true;
  };
  for (size_t at = 0; at < ids.size();) {
    bool is_place = write_place(at, kBoxOpen, kBoxClose, 4, "box") ||
                    write_place(at, kPointOpen, kPointClose, 2, "point");
    at = is_place ? begin : at + 1;
  }
  write_run(ids.size());
  return text;
}

ParsedAnswer read_places(const std::string& text, double scale) {
  static const std::regex place("<(box|point)>(\\d{1,6}), (\\d{1,6})(?:, (\\d{1,6}), (\\d{1,6}))?</\\1>");
  ParsedAnswer answer;
  size_t begin = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), place), none; found != none; ++found) {
    bool is_box = (*found)[1] == "box";
    if (is_box != (*found)[4].matched) continue;
    answer.text += text.substr(begin, static_cast<size_t>(found->position()) - begin);
    begin = static_cast<size_t>(found->position() + found->length());
    auto pixels = [&](size_t idx) { return 2.0 * std::trunc(std::stod((*found)[idx].str()) / scale); };
    Region region;
    if (is_box)
      region.box_xyxy = {pixels(3), pixels(2), pixels(5), pixels(4)};
    else
      region.point = Point{pixels(2), pixels(3)};
    answer.regions.push_back(std::move(region));
  }
  answer.text += text.substr(begin);
  return answer;
}

std::string settled_text(const std::string& text) {
  auto is_open = [&](size_t at) {
    std::string_view rest = std::string_view(text).substr(at);
    auto begins = [&](std::string_view begin, std::string_view end) {
      if (rest.size() < begin.size()) return begin.starts_with(rest);
      return rest.starts_with(begin) && rest.find(end) == rest.npos;
    };
    // The byte tokens may be written as they are named or as the bytes they stand for.
    return rest.front() == '\0' || rest.front() == '\2' || begins(kBoxOpen, kBoxClose) ||
           begins(kPointOpen, kPointClose) || begins("<box>", "</box>") || begins("<point>", "</point>");
  };
  size_t end = 0;
  while (end < text.size() && !is_open(end)) ++end;
  return read_places(text.substr(0, end), 1).text;
}

}  // namespace vlm::interleaved
