// KOSMOS-2's notation of places: <phrase> words</phrase><object><patch_index_A><patch_index_B></object>.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "system/answer.h"

namespace vlm::kosmos {

// A box in pixels of a picture as the two cells of its corners, on a grid of 32 x 32.
std::string cells_of(const std::array<double, 4>& box_xyxy, int64_t height, int64_t width);

// Puts each box behind a phrase of the text that has none yet, in order. Throws bad_request when their
// numbers differ.
std::string insert_boxes(const std::string& text, const std::vector<std::array<double, 4>>& boxes_xyxy,
                         int64_t height, int64_t width);

// Text without tags, and a region for every box; its span is where its phrase stands.
ParsedAnswer read_notation(const std::string& text, int64_t height, int64_t width);
// The beginning of that text which stays, whatever `text` goes on with.
std::string settled_text(const std::string& text);

}  // namespace vlm::kosmos
