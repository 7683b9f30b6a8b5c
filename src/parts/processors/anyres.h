// Pictures at any resolution, as LLaVA-NeXT and its relatives cut them: of a list of resolutions the one that
// keeps the most of the picture; the picture fitted into it on black; tiles; and the part of the tiles'
// feature grid that is picture.
#pragma once

#include <array>
#include <vector>

#include "base/json.h"
#include "media/image.h"

namespace vlm {

using Resolution = std::array<int64_t, 2>;  // {height, width}

// How a config lists resolutions, and how the unpadded side is rounded: transformers writes {height, width}
// and rounds to 7 digits before it truncates, the authors write {width, height} and truncate.
enum class AnyresStyle { transformers, authors };

// "image_grid_pinpoints": a list of pairs of pixels, the same as text, or the authors' range of tiles
// "(1x1),...,(6x6)". Throws bad_checkpoint when a side is no multiple of `tile_px`.
std::vector<Resolution> read_resolutions(const Json& pinpoints, int64_t tile_px, AnyresStyle style);

// Keeps the most pixels of the picture, then wastes the fewest; the first wins.
Resolution best_resolution(const Resolution& image, const std::vector<Resolution>& resolutions);

// Scaled to fit, centred on black; an odd pixel goes right and below.
Image fit_on_black(const Image& image, const Resolution& resolution, Filter filter);

// Row by row; both sides are multiples of `side_px`.
std::vector<Image> cut_tiles(const Image& image, int64_t side_px);

struct GridPart {
  int64_t top = 0, left = 0, rows = 0, columns = 0;
};
// The part of a grid laid over the fitted picture that is not its padding.
GridPart without_padding(const Resolution& image, int64_t rows, int64_t columns, AnyresStyle style);

}  // namespace vlm
