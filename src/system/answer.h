// What a system's own notation in an answer means: boxes, polygons, masks, function calls.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "media/draw.h"
#include "system/request.h"
#include "text/tokenizer.h"

namespace vlm {

// Something in a picture, in pixels of the original.
struct Region {
  std::string label;
  int64_t image = 0;  // which picture of the request
  std::optional<double> score;
  std::optional<std::array<double, 4>> box_xyxy;
  std::optional<Point> point;
  std::optional<std::array<double, 8>> quad;        // corners x, y in the order of the answer
  std::vector<std::vector<Point>> polygons;         // parts of one object
  std::vector<uint8_t> mask;                        // [height, width] of the picture, 0 or 255; empty: none
  std::optional<std::array<int64_t, 2>> text_span;  // of ParsedAnswer::text: [first, behind) in characters
};

struct FunctionCall {
  std::string name, arguments;  // JSON
};

struct ParsedAnswer {
  std::string text;  // for people: without the notation
  std::vector<Region> regions;
  std::vector<FunctionCall> calls;
};

// Reads the notation of a system's answers.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // What the notation is read from: the answer's tokens as text, special ones included, without the end
  // token. Systems whose own post-processing reads the prompt as well put it in front.
  virtual std::string readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                                    const Request&) const {
    return tokenizer.decode(ids, /*skip_special_tokens=*/false);
  }
  virtual ParsedAnswer read_answer(const std::string& text, const Request& request) const = 0;
};

}  // namespace vlm
