#include "parts/encoders/qwen2_vit.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/rope.h"

namespace vlm {

namespace {

constexpr double kNormEps = 1e-6;
constexpr double kTheta = 10000;

}  // namespace

Qwen2VitConfig Qwen2VitConfig::from(const Json& json) {
  Qwen2VitConfig config;
  config.depth = json.integer("depth", 1, 1024, 32);
  config.width = json.integer("embed_dim", 1, 1 << 16, 1280);
  config.num_heads = json.integer("num_heads", 1, 1024, 16);
  double ratio = json.get("mlp_ratio", 4.0);
  if (!(ratio > 0 && ratio < 64) || config.width % (4 * config.num_heads) != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: width {}, {} heads, mlp_ratio {}: heads must be multiples of 4 wide, the ratio within (0, 64)",
         json.path(), config.width, config.num_heads, ratio);
  config.inner = static_cast<int64_t>(static_cast<double>(config.width) * ratio);
  config.out_width = json.integer("hidden_size", 1, 1 << 17, 3584);
  config.num_channels = json.integer("in_channels", 1, 64, json.integer("in_chans", 1, 64, 3));
  config.patch_size = json.integer("patch_size", 1, 1 << 10, 14);
  config.temporal_patch_size = json.integer("temporal_patch_size", 1, 64, 2);
  config.merge_size = json.integer("spatial_merge_size", 1, 64, 2);
  config.hidden_act = act_from(json.get("hidden_act", "quick_gelu"), json.path() + ": hidden_act");
  json.ignore({"spatial_patch_size", "model_type", "initializer_range"});
  return config;
}

Qwen2Vit::Qwen2Vit(const Qwen2VitConfig& config, const Weights& w) : config_(config) {
  int64_t width = config.width, block = config.merge_size * config.merge_size * width;
  auto norm = [&](const Weights& at) { return nn::Norm(at, width, nn::NormKind::layer, kNormEps); };
  patch_weight_ = w.take("patch_embed.proj.weight", {width, config.num_channels, config.temporal_patch_size,
                                                     config.patch_size, config.patch_size});
  for (int64_t idx = 0; idx < config.depth; ++idx) {
    Weights at = w / "blocks" / idx;
    Block layer;
    layer.norm1 = norm(at / "norm1");
    layer.norm2 = norm(at / "norm2");
    layer.qkv = nn::Linear(at / "attn.qkv", width, 3 * width, nn::Bias::yes);
    layer.proj = nn::Linear(at / "attn.proj", width, width, nn::Bias::yes);
    layer.mlp = nn::Mlp(at / "mlp", width, config.inner, config.hidden_act, nn::Bias::yes);
    blocks_.push_back(std::move(layer));
  }
  merger_norm_ = norm(w / "merger.ln_q");
  merger_up_ = nn::Linear(w / "merger.mlp.0", block, block, nn::Bias::yes);
  merger_down_ = nn::Linear(w / "merger.mlp.2", block, config.out_width, nn::Bias::yes);
}

// Half of a head's angles turn by the row, half by the column; every frame pair alike.
Qwen2Vit::Rotation Qwen2Vit::rotation(const PatchGrid& grid) const {
  int64_t quarter = config_.width / config_.num_heads / 4, merge = config_.merge_size;
  Tensor frequencies =
      at::pow(kTheta, at::arange(quarter, at::kFloat) / static_cast<double>(quarter)).reciprocal();
  auto in_block_order = [&](const Tensor& places) {
    return places.expand({grid.rows, grid.columns})
        .reshape({grid.rows / merge, merge, grid.columns / merge, merge})
        .permute({0, 2, 1, 3})
        .reshape({-1, 1});
  };
  Tensor row = in_block_order(at::arange(grid.rows, at::kFloat).unsqueeze(1));
  Tensor column = in_block_order(at::arange(grid.columns, at::kFloat).unsqueeze(0));
  Tensor angles = at::cat({row * frequencies, column * frequencies}, 1).repeat({grid.time, 1});
  return {angles.cos(), angles.sin()};
}

Tensor Qwen2Vit::attend(const Block& block, const Tensor& x_PV, const PatchGrid& grid,
                        const Rotation& rotation) const {
  int64_t patches = x_PV.size(0), heads = config_.num_heads, head_width = config_.width / heads;
  Tensor qkv = block.qkv(x_PV).view({patches, 3, heads, head_width});
  // Frame pairs do not see each other: each is one item of a batch.
  auto by_frame = [&](const Tensor& x_PAE) {
    return x_PAE.reshape({grid.time, grid.rows * grid.columns, heads, head_width});
  };
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  args.may_round = block.proj.is_rounded();
  Tensor mixed = ops::attention(by_frame(ops::rope(qkv.select(1, 0), rotation.cos_PR, rotation.sin_PR)),
                                by_frame(ops::rope(qkv.select(1, 1), rotation.cos_PR, rotation.sin_PR)),
                                by_frame(qkv.select(1, 2)), args);
  return block.proj(mixed.reshape({patches, config_.width}));
}

Tensor Qwen2Vit::operator()(const Tensor& rows_PK, const PatchGrid& grid) const {
  VLM_SHAPE(rows_PK, grid.count(), patch_weight_[0].numel());
  Rotation rotation = this->rotation(grid);
  Tensor x_PV = trace::point("hidden/vision/embeddings", at::linear(rows_PK, patch_weight_.flatten(1)));
  for (size_t idx = 0; idx < blocks_.size(); ++idx) {
    const Block& block = blocks_[idx];
    x_PV = x_PV + attend(block, block.norm1(x_PV), grid, rotation);
    x_PV = trace::point("hidden/vision", static_cast<int64_t>(idx), x_PV + block.mlp(block.norm2(x_PV)));
  }
  Tensor merged = merger_norm_(x_PV).view({-1, config_.merge_size * config_.merge_size * config_.width});
  return merger_down_(merger_up_(merged, Act::gelu_erf));
}

}  // namespace vlm
