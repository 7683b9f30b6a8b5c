#include "models/llava/tiled.h"

#include <cmath>

#include "models/llava/layouts.h"

namespace vlm::llava {

namespace {

constexpr char kMaxTiles[] = "anyres_max_";

// The reference shrinks a grid only when its side is this much too long.
constexpr double kTolerated = 1.1;

int64_t read_max_tiles(const Json& json, const char* key) {
  std::string word = json.get(key, "anyres");
  if (word == "anyres") return 0;
  int64_t tiles = 0;
  for (size_t at = sizeof kMaxTiles - 1; word.starts_with(kMaxTiles) && at < word.size() && at < 20; ++at)
    tiles = std::isdigit(static_cast<unsigned char>(word[at])) ? tiles * 10 + (word[at] - '0') : -1;
  if (tiles < 1 || tiles > 4096)
    fail(ErrorKind::unsupported, "known: anyres, anyres_max_<number of tiles>", "config.json: {} = \"{}\"",
         key, word);
  return tiles;
}

}  // namespace

TilesConfig TilesConfig::of(const Checkpoint& checkpoint, const VitConfig& vision) {
  const Json& json = checkpoint.config;
  TilesConfig tiles;
  tiles.style = is_authors(checkpoint) ? AnyresStyle::authors : AnyresStyle::transformers;
  tiles.resolutions = read_resolutions(json.at("image_grid_pinpoints"), vision.image_size, tiles.style);
  if (is_authors(checkpoint)) {
    tiles.max_tiles = read_max_tiles(json, "image_aspect_ratio");
    json.require("mm_patch_merge_type", "spatial_unpad");
  } else {
    tiles.max_tiles = read_max_tiles(json, "vision_aspect_ratio");
    json.require("use_image_newline_parameter", true);
  }
  return tiles;
}

TiledLlava::TiledLlava(Config config, const Checkpoint& checkpoint, const Weights& w, Dialect dialect)
    : Llava(std::move(config), checkpoint, w, std::move(dialect)),
      tiles_(TilesConfig::of(checkpoint, this->config().vision)),
      newline_D_(w.take("image_newline", {this->config().text.hidden_size})) {
  if (this->config().tokens_per_image() != this->config().vision.num_patches())
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: a view gives {} tokens, its grid has {} patches", checkpoint.name,
         this->config().tokens_per_image(), this->config().vision.num_patches());
}

GridPart TiledLlava::visible_part(const Resolution& image) const {
  Resolution best = best_resolution(image, tiles_.resolutions);
  int64_t tile_px = config().vision.image_size;
  return without_padding(image, best[0] / tile_px * side(), best[1] / tile_px * side(), tiles_.style);
}

GridPart TiledLlava::reduced(const GridPart& part) const {
  if (tiles_.max_tiles == 0) return part;
  double rows = static_cast<double>(part.rows), columns = static_cast<double>(part.columns);
  double ratio = std::sqrt(rows * columns / static_cast<double>(tiles_.max_tiles * side() * side()));
  if (ratio <= kTolerated) return part;
  return {0, 0, static_cast<int64_t>(std::floor(rows / ratio)),
          static_cast<int64_t>(std::floor(columns / ratio))};
}

MediaInput TiledLlava::prepare_image(const Image& image, const Request&) const {
  Resolution best = best_resolution({image.height, image.width}, tiles_.resolutions);
  int64_t side_px = config().vision.image_size;
  Filter filter = tiles_.style == AnyresStyle::authors ? Filter::bicubic : processor().resample;
  // The base view does not keep the picture's aspect.
  std::vector<Tensor> views{processor().pixel_values(resize_pillow(image, side_px, side_px, filter))};
  for (const Image& tile : cut_tiles(fit_on_black(image, best, filter), side_px))
    views.push_back(processor().pixel_values(tile));
  MediaInput media;
  media.pixel_values = at::stack(views).unsqueeze(0);
  media.extra["image_sizes"] = ids_tensor({image.height, image.width}).unsqueeze(0);
  GridPart part = reduced(visible_part({image.height, image.width}));
  media.rows = config().tokens_per_image() + part.rows * (part.columns + 1);
  return media;
}

MediaInput TiledLlava::single_view(const Tensor& pixels_CHW) const {
  MediaInput media;
  media.pixel_values = pixels_CHW.unsqueeze(0).unsqueeze(0);
  media.rows = config().tokens_per_image() + 1;
  return media;
}

Tensor TiledLlava::with_newline(const Tensor& rows_ND) const {
  return at::cat({rows_ND, newline_D_.to(rows_ND.scalar_type()).unsqueeze(0)});
}

Tensor TiledLlava::encode(const MediaInput& media) const {
  Tensor views_NPD = project(media.pixel_values.squeeze(0));
  int64_t width = views_NPD.size(2), side = this->side();
  if (views_NPD.size(0) == 1) return with_newline(views_NPD[0]);
  const int64_t* size = media.extra.at("image_sizes").data_ptr<int64_t>();
  Resolution image{size[0], size[1]};
  Resolution best = best_resolution(image, tiles_.resolutions);
  int64_t tile_px = config().vision.image_size, down = best[0] / tile_px, across = best[1] / tile_px;
  // D(down s)(across s) <- (down across)(s s)D
  Tensor grid_Dhw = views_NPD.slice(0, 1)
                        .reshape({down, across, side, side, width})
                        .permute({4, 0, 2, 1, 3})
                        .reshape({width, down * side, across * side});
  GridPart part = visible_part(image), smaller = reduced(part);
  grid_Dhw = grid_Dhw.narrow(1, part.top, part.rows).narrow(2, part.left, part.columns);
  if (smaller.rows != part.rows || smaller.columns != part.columns)
    grid_Dhw = at::upsample_bilinear2d(grid_Dhw.unsqueeze(0), {smaller.rows, smaller.columns},
                                       /*align_corners=*/false)
                   .squeeze(0);
  Tensor newlines_Dh1 =
      newline_D_.to(grid_Dhw.scalar_type()).view({width, 1, 1}).expand({-1, smaller.rows, 1});
  Tensor tokens_ND = at::cat({grid_Dhw, newlines_Dh1}, 2).flatten(1).transpose(0, 1);
  return at::cat({views_NPD[0], tokens_ND});
}

}  // namespace vlm::llava
