#include "models/qwen/notation.h"

#include <cctype>
#include <charconv>
#include <optional>

namespace vlm::qwen {

namespace {

constexpr double kUnits = 1000;  // of a side

int64_t characters(const std::string& utf8) {
  int64_t count = 0;
  for (unsigned char byte : utf8) count += (byte & 0xc0) != 0x80;
  return count;
}

// "(12,34),(56,78)" as numbers, two for each corner; nothing else may stand there.
std::optional<std::vector<double>> corners_from(std::string_view text) {
  std::vector<double> numbers;
  std::string shape;  // the text without its numbers and spaces
  for (size_t at = 0; at < text.size();) {
    unsigned char letter = static_cast<unsigned char>(text[at]);
    if (std::isdigit(letter)) {
      double number = 0;
      auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), number);
      if (error != std::errc()) return std::nullopt;
      numbers.push_back(number);
      at = static_cast<size_t>(end - text.data());
      shape += '0';
    } else {
      if (!std::isspace(letter)) shape += text[at];
      ++at;
    }
  }
  std::string wanted;
  for (size_t corner = 0; corner < numbers.size() / 2; ++corner) wanted += corner ? ",(0,0)" : "(0,0)";
  if (shape != wanted || numbers.empty()) return std::nullopt;
  return numbers;
}

// Cuts "<begin>...<end>" at `at`; nothing when it does not stand there whole.
std::optional<std::string> take_marked(const std::string& text, size_t& at, const std::string& begin,
                                       const std::string& end) {
  if (text.compare(at, begin.size(), begin) != 0) return std::nullopt;
  size_t first = at + begin.size(), last = text.find(end, first);
  if (last == std::string::npos) return std::nullopt;
  at = last + end.size();
  return text.substr(first, last - first);
}

class Reader {
 public:
  Reader(const RegionMarks& marks, const Request& request) : marks_(marks) {
    if (request.images.empty()) return;
    image_ = static_cast<int64_t>(request.images.size()) - 1;
    width_ = static_cast<double>(request.images.back().width);
    height_ = static_cast<double>(request.images.back().height);
  }

  ParsedAnswer read(const std::string& text) {
    for (size_t at = 0; at < text.size();)
      if (!take_label(text, at) && !take_place(text, at)) answer_.text += text[at++];
    return std::move(answer_);
  }

  std::string settled(const std::string& text) {
    for (size_t at = 0; at < text.size() && !is_open(text, at);)
      if (!take_label(text, at) && !take_place(text, at)) answer_.text += text[at++];
    return std::move(answer_.text);
  }

 private:
  // Whether a mark may begin at `at` whose end has not come.
  bool is_open(const std::string& text, size_t at) const {
    auto begins = [&](const std::string& begin, const std::string& end) {
      std::string_view rest = std::string_view(text).substr(at);
      if (rest.size() < begin.size()) return begin.starts_with(rest);
      return rest.starts_with(begin) && rest.find(end, begin.size()) == std::string_view::npos;
    };
    return begins(marks_.label_begin, marks_.label_end) || begins(marks_.box_begin, marks_.box_end) ||
           begins(marks_.quad_begin, marks_.quad_end);
  }
  bool take_label(const std::string& text, size_t& at) {
    std::optional<std::string> label = take_marked(text, at, marks_.label_begin, marks_.label_end);
    if (!label) return false;
    int64_t begin = characters(answer_.text);
    answer_.text += *label;
    label_ = *label;
    span_ = {begin, begin + characters(*label)};
    return true;
  }

  bool take_place(const std::string& text, size_t& at) {
    for (bool is_quad : {false, true}) {
      size_t behind = at;
      std::optional<std::string> inside =
          take_marked(text, behind, is_quad ? marks_.quad_begin : marks_.box_begin,
                      is_quad ? marks_.quad_end : marks_.box_end);
      std::optional<std::vector<double>> numbers = inside ? corners_from(*inside) : std::nullopt;
      if (!numbers || numbers->size() != (is_quad ? 8u : 4u)) continue;
      Region region;
      region.label = label_;
      region.text_span = span_;
      region.image = image_;
      for (size_t idx = 0; idx < numbers->size(); ++idx)
        (*numbers)[idx] *= (idx % 2 ? height_ : width_) / kUnits;
      if (is_quad) {
        region.quad.emplace();
        std::copy(numbers->begin(), numbers->end(), region.quad->begin());
      } else {
        region.box_xyxy = {{(*numbers)[0], (*numbers)[1], (*numbers)[2], (*numbers)[3]}};
      }
      answer_.regions.push_back(std::move(region));
      at = behind;
      return true;
    }
    return false;
  }

  const RegionMarks& marks_;
  int64_t image_ = 0;
  double width_ = kUnits, height_ = kUnits;  // without a picture: the notation's own units
  ParsedAnswer answer_;
  std::string label_;
  std::optional<std::array<int64_t, 2>> span_;
};

}  // namespace

ParsedAnswer read_regions(const std::string& text, const RegionMarks& marks, const Request& request) {
  return Reader(marks, request).read(text);
}

std::string settled_text(const std::string& text, const RegionMarks& marks) {
  return Reader(marks, {}).settled(text);
}

}  // namespace vlm::qwen
