// Qwen2-VL's vision tower: pictures and frame pairs of any size, 2-D rotary positions, 2 x 2 patches merged
// into one row of the language model's width.
//
//   rows_PK --patch matrix--> x_PV --[norm, attention within a frame pair, norm, MLP] x L--> --norm, join
//   blocks--> --MLP--> merged_MD
//
// P patches in merge-block order (parts/processors/native_patches.h), K values of a patch, V width, M = P
// / 4.
#pragma once

#include "base/json.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "parts/processors/native_patches.h"

namespace vlm {

struct Qwen2VitConfig {
  int64_t depth = 32;
  int64_t width = 1280;
  int64_t inner = 5120;
  int64_t num_heads = 16;
  int64_t out_width = 3584;
  int64_t num_channels = 3;
  int64_t patch_size = 14;
  int64_t temporal_patch_size = 2;
  int64_t merge_size = 2;
  Act hidden_act = Act::gelu_quick;

  static Qwen2VitConfig from(const Json& vision_config);
};

class Qwen2Vit {
 public:
  Qwen2Vit() = default;
  Qwen2Vit(const Qwen2VitConfig& config, const Weights& w);
  // One picture or video: [P, K] -> [P / merge_size^2, D]. Memory grows with the patches of one frame pair
  // squared only where kernels are off.
  Tensor operator()(const Tensor& rows_PK, const PatchGrid& grid) const;

 private:
  struct Block {
    nn::Norm norm1, norm2;
    nn::Linear qkv, proj;
    nn::Mlp mlp;
  };
  struct Rotation {
    Tensor cos_PR, sin_PR;
  };
  Rotation rotation(const PatchGrid& grid) const;
  Tensor attend(const Block& block, const Tensor& x_PV, const PatchGrid& grid,
                const Rotation& rotation) const;

  Qwen2VitConfig config_;
  Tensor patch_weight_;  // [V, channels, time, y, x]
  std::vector<Block> blocks_;
  nn::Norm merger_norm_;
  nn::Linear merger_up_, merger_down_;
};

}  // namespace vlm
