// SAM's picture encoder (arXiv:2304.02643): a ViT that attends within windows, in a few layers over the whole
// picture, with positions relative along rows and columns.
//
//   pixels_N3HW --patch conv, positions--> x_NhwV --layers--> states --neck--> embeddings_NChw
//
// h x w patches, V width, C channels behind the neck, E head width, S keys of a window or the picture.
// Published twice: as SAM's authors name the tensors, and as transformers does.
#pragma once

#include "base/json.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace vlm {

struct SamNeckNames {
  const char* conv1;
  const char* norm1;
  const char* conv2;
  const char* norm2;
};

struct SamVitNames {
  const char* patch;
  const char* layers;
  const char* norm1;
  const char* norm2;
  SamNeckNames neck;
};
inline constexpr SamVitNames kSamNames{"patch_embed.projection",
                                       "layers",
                                       "layer_norm1",
                                       "layer_norm2",
                                       {"conv1", "layer_norm1", "conv2", "layer_norm2"}};
inline constexpr SamVitNames kSamAuthorsNames{
    "patch_embed.proj", "blocks", "norm1", "norm2", {"0", "1", "2", "3"}};

struct SamVitConfig {
  SamVitNames names = kSamNames;
  int64_t width = 768;
  int64_t inner = 3072;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 1024;
  int64_t patch_size = 16;
  int64_t window = 14;
  int64_t out_channels = 256;
  std::vector<int64_t> global_layers{2, 5, 8, 11};  // the others attend within windows
  Act hidden_act = Act::gelu_erf;
  double norm_eps = 1e-6;
  bool has_qkv_bias = true;
  bool has_relative_positions = true;

  static SamVitConfig from(const Json& vision_config);  // sam_vision_model
  // The authors write no config: sizes and layers are those of the tensors below `w`, heads the caller's.
  static SamVitConfig from_tensors(const Weights& w, int64_t num_heads);

  int64_t grid() const { return image_size / patch_size; }
  bool is_global(int64_t layer) const;
};

// 1x1 and 3x3 convolutions, each with a norm over channels: NhwV -> NChw.
class SamNeck {
 public:
  SamNeck() = default;
  SamNeck(const Weights& w, int64_t width, int64_t channels, const SamNeckNames& names);
  Tensor operator()(const Tensor& x_NhwV) const;

 private:
  Tensor conv1_, conv2_;
  nn::Norm norm1_, norm2_;
};

class SamVit {
 public:
  SamVit() = default;
  SamVit(const SamVitConfig& config, const Weights& w);

  struct States {
    Tensor embeddings_NChw;    // behind the neck
    Tensor first_global_NhwV;  // behind the first layer that sees the whole picture
  };
  States operator()(const Tensor& pixels_N3HW) const;
  const SamVitConfig& config() const { return config_; }

 private:
  struct Layer {
    nn::Norm norm1, norm2;
    nn::Linear qkv, proj;
    nn::Mlp mlp;
    Tensor rows_LE, columns_LE;  // for every distance; undefined: none
    bool is_global = false;
  };
  Tensor attend(const Layer& layer, const Tensor& x_BhwV) const;
  Tensor attend_in_windows(const Layer& layer, const Tensor& x_NhwV) const;

  SamVitConfig config_;
  Tensor patch_weight_, patch_bias_, positions_1hwV_;
  std::vector<Layer> layers_;
  SamNeck neck_;
};

}  // namespace vlm
