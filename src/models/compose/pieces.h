// The towers and connectors that a composed model can be made of. Each is one line of a table in pieces.cc.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "base/json.h"
#include "system/system.h"
#include "weights/weights.h"

namespace vlm::compose {

using Grid = std::array<int64_t, 2>;  // rows and columns of a picture's features

struct Tower {
  std::function<Tensor(const MediaInput& media)> encode;  // -> [N, rows * columns (+ 1), width]
  std::function<Grid(const MediaInput& media)> grid;
  std::optional<Grid> fixed_grid;  // of towers that take one size
  int64_t width = 0;
  bool has_first_token = false;  // a class token in front of the patches
};

struct Connector {
  std::function<Tensor(const Tensor& rows_NPV, const Grid& grid)> join;  // -> [N, tokens, D]
  std::function<int64_t(const Grid& grid)> tokens;
};

// `config`: the whole config.json. vision_config.model_type chooses the tower; vision_layer,
// vision_final_norm and vision_first_token say which of its states are read. Throws unsupported, listing what
// is known.
Tower make_tower(const Json& config, const Weights& w);
// connector_config.type chooses: linear, mlp, pixel_shuffle, perceiver, qformer.
Connector make_connector(const Json& connector_config, const Tower& tower, int64_t text_width,
                         const Weights& w);

}  // namespace vlm::compose
