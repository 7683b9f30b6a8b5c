// DaViT (arXiv:2204.03645): stages of attention within windows and attention between channels, in turn.
//
//   pixels_NCHW --[conv embedding, (spatial block, channel block) x depth] x stages--> features_NCHW
//   block half: x + depthwise conv, x + attention(norm x), x + depthwise conv, x + mlp(norm x)
#pragma once

#include <functional>
#include <vector>

#include "base/json.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace vlm {

struct DavitConfig {
  struct Stage {
    int64_t width = 0;  // dim_embed
    int64_t depth = 1;
    int64_t num_heads = 1;   // of attention within windows
    int64_t num_groups = 1;  // of channels
    int64_t patch_size = 3, patch_stride = 2, patch_padding = 1;
    bool has_prenorm = true;  // a norm over the stage's input instead of its output
  };
  std::vector<Stage> stages;
  int64_t window_size = 12;

  static DavitConfig from(const Json& json);
  int64_t width() const { return stages.back().width; }
  int64_t places(int64_t side_px) const;  // along that side of a picture
};

class Davit {
 public:
  Davit() = default;
  Davit(const DavitConfig& config, const Weights& w);
  Tensor operator()(Tensor x_NCHW) const;

 private:
  struct Convolution {
    Tensor weight, bias;
  };
  struct Half {  // of a block: one kind of attention, and an MLP
    Convolution before_attention, before_mlp;
    nn::Norm attention_norm, mlp_norm;
    nn::Linear qkv, out;
    nn::Mlp mlp;
  };
  struct Stage {
    Convolution patch;
    nn::Norm norm;
    std::vector<Half> spatial, channel;
  };
  // [N, H, W, C] -> [N, H * W, C], normalised input
  using Attention = std::function<Tensor(const Half& half, const Tensor& x_NHWC)>;
  Half make_half(const Weights& w, const char* attention, int64_t width) const;
  Tensor embed(const Stage& stage, const DavitConfig::Stage& config, Tensor x_NCHW) const;
  Tensor run(const Half& half, const Attention& attend, Tensor x_NCHW) const;
  Tensor attend_windows(const Half& half, const Tensor& x_NHWC, int64_t num_heads) const;
  Tensor attend_channels(const Half& half, const Tensor& x_NHWC, int64_t num_groups) const;

  DavitConfig config_;
  std::vector<Stage> stages_;
};

}  // namespace vlm
