// The towers and connectors that a composed model can be made of. Each is one line of a table in pieces.cc.
#pragma once

#include <functional>

#include "base/json.h"
#include "tensor/tensor.h"
#include "weights/weights.h"

namespace vlm::compose {

struct Tower {
  std::function<Tensor(const Tensor& pixels_N3HW)> encode;  // -> [N, rows * columns (+ 1), width]
  int64_t width = 0;
  int64_t rows = 0, columns = 0;  // of patches
  bool has_first_token = false;   // a class token in front of them
  int64_t tokens() const { return rows * columns + (has_first_token ? 1 : 0); }
};

struct Connector {
  std::function<Tensor(const Tensor& rows_NPV)> join;  // -> [N, tokens, D]
  int64_t tokens = 0;
};

// `config`: the whole config.json. vision_config.model_type chooses the tower; vision_layer,
// vision_final_norm and vision_first_token say which of its states are read. Throws unsupported, listing what
// is known.
Tower make_tower(const Json& config, const Weights& w);
// connector_config.type chooses: linear, mlp, pixel_shuffle, perceiver, qformer.
Connector make_connector(const Json& connector_config, const Tower& tower, int64_t text_width,
                         const Weights& w);

}  // namespace vlm::compose
