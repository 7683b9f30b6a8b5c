#include "parts/encoders/native_vit.h"

#include "parts/encoders/patches.h"

namespace vlm {

NativeVit::NativeVit(const VitConfig& config, const Weights& w) : config_(config) {
  const VitNames& names = config.names;
  int64_t width = config.encoder.hidden_size, side = config.patch_size;
  patch_weight_ = w.take(std::string(names.patch) + ".weight", {width, config.num_channels, side, side});
  if (config.has_patch_bias) patch_bias_ = w.take(std::string(names.patch) + ".bias", {width});
  positions_ = w.take(names.positions, {config.num_patches(), width});
  encoder_ = TransformerEncoder(config.encoder, names.encoder, w);
  post_norm_ = nn::Norm(w / names.post_norm, width, nn::NormKind::layer, config.encoder.layer_norm_eps);
}

// The table's cell that a patch's share of the way down and across falls into. In float32, step by step as
// the reference: rounding decides which cell a share on a border belongs to.
Tensor NativeVit::position_ids(const Tensor& is_real_Nhw) const {
  int64_t grid = config_.grid();
  double step = 1.0 / static_cast<double>(grid);
  Tensor borders = at::arange(step, 1.0, step, at::kFloat);
  auto cells = [&](const Tensor& count_N, int64_t size) {
    Tensor share_Ns =
        at::arange(size, at::kFloat).unsqueeze(0) * count_N.to(at::kFloat).reciprocal().unsqueeze(1);
    return at::bucketize(share_Ns.clamp_max(1.0 - 1e-6), borders, /*out_int32=*/false, /*right=*/true);
  };
  Tensor row_Nh = cells(is_real_Nhw.select(2, 0).sum(1), is_real_Nhw.size(1));
  Tensor column_Nw = cells(is_real_Nhw.select(1, 0).sum(1), is_real_Nhw.size(2));
  Tensor ids_Nhw = row_Nh.unsqueeze(2) * grid + column_Nw.unsqueeze(1);
  return ids_Nhw.masked_fill(is_real_Nhw.logical_not(), 0).flatten(1);
}

Tensor NativeVit::operator()(const Tensor& pixels_N3HW, const Tensor& is_real_Nhw) const {
  VLM_SHAPE(pixels_N3HW, kAny, config_.num_channels, kAny, kAny);
  int64_t side = config_.patch_size;
  VLM_SHAPE(is_real_Nhw, pixels_N3HW.size(0), pixels_N3HW.size(2) / side, pixels_N3HW.size(3) / side);
  Tensor x_NPV = embed_patches(pixels_N3HW, patch_weight_, patch_bias_).flatten(1, 2);
  Tensor ids_NP = position_ids(is_real_Nhw);
  x_NPV = x_NPV + positions_.index_select(0, ids_NP.flatten()).view(x_NPV.sizes());
  trace::point("hidden/vision_embeddings", x_NPV);
  bool has_padding = !is_real_Nhw.all().item<bool>();
  x_NPV = encoder_(x_NPV, "hidden/vision", -1, has_padding ? is_real_Nhw.flatten(1) : Tensor());
  return trace::point("hidden/vision_post_layernorm", post_norm_(x_NPV));
}

}  // namespace vlm
