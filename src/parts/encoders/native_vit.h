// SigLIP's tower on pictures of any aspect ratio, padded to one size: NaViT's positions.
//
//   pixels_N3HW --patch conv--> NPV, + position of (row / rows, column / columns) --layers, padding unseen-->
//   --post-norm--> x_NPV
//
// N pictures, P patches of the padded size, V width. Reference: transformers Idefics2VisionTransformer.
#pragma once

#include "parts/encoders/vit.h"

namespace vlm {

class NativeVit {
 public:
  NativeVit() = default;
  NativeVit(const VitConfig& config, const Weights& w);

  // is_real_Nhw: bool, the patches that show the picture; they fill a rectangle from the top left corner.
  Tensor operator()(const Tensor& pixels_N3HW, const Tensor& is_real_Nhw) const;  // [N, h * w, V]
  const VitConfig& config() const { return config_; }

 private:
  Tensor position_ids(const Tensor& is_real_Nhw) const;  // int64 [N, h * w]

  VitConfig config_;
  Tensor patch_weight_, patch_bias_, positions_;
  TransformerEncoder encoder_;
  nn::Norm post_norm_;
};

}  // namespace vlm
