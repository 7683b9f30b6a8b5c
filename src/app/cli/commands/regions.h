// Places in pictures as the command line takes and gives them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "system/answer.h"

namespace vlm::cli {

// "x0,y0,x1,y1", "x,y" or "x,y,0" (a place outside of what is meant), files of black and white pictures.
// Throws bad_request for what is no place, or a mask of another size than the first picture.
RegionPrompt read_regions(const std::vector<std::string>& boxes, const std::vector<std::string>& points,
                          const std::vector<std::string>& masks, const std::vector<Image>& images);

// [{"label", "image", "box": [x0, y0, x1, y1], ...}], in pixels of the original picture. A mask is COCO's run
// lengths: {"size": [height, width], "counts": [...]}, column by column, outside first.
nlohmann::ordered_json regions_json(const std::vector<Region>& regions, const std::vector<Image>& images);
nlohmann::ordered_json calls_json(const std::vector<FunctionCall>& calls);

// "dog  box 12 30 200 180", one line for each region.
std::string regions_text(const std::vector<Region>& regions);

// "name {arguments}", one line for each call.
std::string calls_text(const std::vector<FunctionCall>& calls);

// The regions of one picture drawn into it.
Image draw_regions(const Image& image, const std::vector<Region>& regions, int64_t image_idx);

}  // namespace vlm::cli
