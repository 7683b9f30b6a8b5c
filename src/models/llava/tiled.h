// What LLaVA-1.6 and LLaVA-OneVision add to the LLaVA graph: a base view and tiles of every picture, the
// tiles' features as one grid without its padding, and a learnt newline behind each of its rows.
//
//   views_NCHW --project--> base_PD, tiles -> grid_D(h s)(w s) --without padding--> rows x columns
//   [--bilinear, when larger than max_tiles--] --newline behind each row--> [P + rows * (columns + 1), D]
//
// N = 1 + h * w views, s x s = P image tokens each, D text width.
#pragma once

#include "models/llava/family.h"
#include "parts/processors/anyres.h"

namespace vlm::llava {

struct TilesConfig {
  AnyresStyle style = AnyresStyle::transformers;
  std::vector<Resolution> resolutions;
  int64_t max_tiles = 0;  // "anyres_max_9": the grid shrinks to about this many; 0: never

  // `vision`: whose image size is the tiles'.
  static TilesConfig of(const Checkpoint& checkpoint, const VitConfig& vision);
};

class TiledLlava : public Llava {
 public:
  TiledLlava(Config config, const Checkpoint& checkpoint, const Weights& w, Dialect dialect);

  Tensor encode(const MediaInput& media) const override;

 protected:
  MediaInput prepare_image(const Image& image, const Request& request) const override;
  // The whole picture as one view: P tokens and a newline.
  MediaInput single_view(const Tensor& pixels_CHW) const;
  Tensor with_newline(const Tensor& rows_ND) const;  // one behind all
  int64_t side() const { return this->config().vision.grid(); }

 private:
  GridPart visible_part(const Resolution& image) const;
  GridPart reduced(const GridPart& part) const;

  TilesConfig tiles_;
  Tensor newline_D_;
};

}  // namespace vlm::llava
