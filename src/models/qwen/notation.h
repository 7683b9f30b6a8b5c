// How Qwen's models write places: between marks, in thousandths of the picture's sides.
#pragma once

#include <string>

#include "system/answer.h"

namespace vlm::qwen {

struct RegionMarks {
  std::string label_begin, label_end, box_begin, box_end, quad_begin, quad_end;
};
inline const RegionMarks kQwen2Marks{"<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
                                     "<|box_end|>",          "<|quad_start|>",     "<|quad_end|>"};

// "<ref>label</ref><box>(x0,y0),(x1,y1)</box>", with the given marks: boxes and quadrangles in pixels of the
// last picture asked about. A label stands for all places up to the next label. What does not parse stays in
// the text as it is.
ParsedAnswer read_regions(const std::string& text, const RegionMarks& marks, const Request& request);
// The beginning of that text which stays, whatever `text` goes on with.
std::string settled_text(const std::string& text, const RegionMarks& marks);

}  // namespace vlm::qwen
