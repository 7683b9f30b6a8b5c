// Fuyu's notation of places: <box>y1, x1, y2, x2</box> and <point>x, y</point>.
//
// In a prompt they hold pixels of the original picture. The model reads and writes half of their value in
// pixels of the shrunk one, each number one token, between the byte tokens 0 and 1 (a box) or 2 and 3 (a
// point).
#pragma once

#include <span>
#include <string>

#include "system/answer.h"

namespace vlm::interleaved {

inline constexpr char kBoxOpen[] = "<0x00>", kBoxClose[] = "<0x01>", kPointOpen[] = "<0x02>",
                      kPointClose[] = "<0x03>";

// "<box>12, 20, 64, 78</box>" -> "<0x00>6 10 32 39<0x01>" at a scale of 1; halves round to even. Throws
// bad_request for a mark without its numbers.
std::string scale_places(std::string text, double scale);

// The text of an answer, places written out as in prompts but with the model's numbers.
std::string write_places(const Tokenizer& tokenizer, std::span<const int64_t> ids);

// What write_places() wrote, in pixels of the original. As the reference: whole pixels first, then doubled.
ParsedAnswer read_places(const std::string& text, double scale);
// The beginning of that text which stays, whatever `text` goes on with.
std::string settled_text(const std::string& text);

}  // namespace vlm::interleaved
