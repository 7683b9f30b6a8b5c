#include "parts/encoders/sam_vit.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "parts/encoders/patches.h"

namespace vlm {

namespace {

constexpr int64_t kMostLayers = 1024;

// Rows of the table for every pair of places, [S, S, E]; a table made for another side is resampled.
Tensor distances(const Tensor& table_LE, int64_t side) {
  Tensor table = table_LE;
  if (table.size(0) != 2 * side - 1)
    table =
        at::upsample_linear1d(table.t().unsqueeze(0), {2 * side - 1}, /*align_corners=*/false).squeeze(0).t();
  Tensor place = at::arange(side, at::kLong);
  Tensor distance = place.unsqueeze(1) - place.unsqueeze(0) + (side - 1);
  return table.index_select(0, distance.flatten()).view({side, side, -1});
}

}  // namespace

SamVitConfig SamVitConfig::from(const Json& json) {
  SamVitConfig config;
  config.width = json.integer("hidden_size", 1, 1 << 16, 768);
  config.num_layers = json.integer("num_hidden_layers", 1, kMostLayers, 12);
  config.num_heads = json.integer("num_attention_heads", 1, 1024, 12);
  config.num_channels = json.integer("num_channels", 1, 64, 3);
  config.image_size = json.integer("image_size", 1, 1 << 14, 1024);
  config.patch_size = json.integer("patch_size", 1, config.image_size, 16);
  config.window = json.integer("window_size", 1, 1 << 14, 14);
  config.out_channels = json.integer("output_channels", 1, 1 << 16, 256);
  double ratio = json.get("mlp_ratio", 4.0);
  config.inner =
      json.integer("mlp_dim", 1, 1 << 20, static_cast<int64_t>(static_cast<double>(config.width) * ratio));
  config.global_layers = json.get("global_attn_indexes", config.global_layers);
  config.hidden_act = act_from(json.get("hidden_act", "gelu"), json.path() + ": hidden_act");
  config.norm_eps = json.get("layer_norm_eps", 1e-6);
  config.has_qkv_bias = json.get("qkv_bias", true);
  config.has_relative_positions = json.get("use_rel_pos", true);
  json.require("use_abs_pos", true);
  json.ignore({"attention_dropout", "dropout", "num_pos_feats", "initializer_range", "initializer_factor",
               "projection_dim", "intermediate_size", "model_type"});
  if (config.width % config.num_heads != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: hidden_size {} does not divide into {} heads", json.path(), config.width, config.num_heads);
  return config;
}

SamVitConfig SamVitConfig::from_tensors(const Weights& w, int64_t num_heads) {
  SamVitConfig config;
  config.names = kSamAuthorsNames;
  config.num_heads = num_heads;
  std::optional<Shape> patch = w.stored_shape("patch_embed.proj.weight"),
                       places = w.stored_shape("pos_embed"),
                       inner = w.stored_shape("blocks.0.mlp.lin1.weight"),
                       neck = w.stored_shape("neck.0.weight");
  if (!patch || patch->size() != 4 || !places || places->size() != 4 || !inner || inner->size() != 2 ||
      !neck || neck->size() != 4)
    return config;  // the missing ones are reported when they are asked for
  config.width = (*patch)[0], config.num_channels = (*patch)[1], config.patch_size = (*patch)[3];
  config.image_size = (*places)[1] * config.patch_size;
  config.inner = (*inner)[0];
  config.out_channels = (*neck)[0];
  config.global_layers.clear();
  int64_t layers = 0, whole = 2 * config.grid() - 1;
  for (; layers < kMostLayers; ++layers) {
    std::optional<Shape> rows = w.stored_shape(fmt::format("blocks.{}.attn.rel_pos_h", layers));
    if (!rows || rows->empty()) break;
    if ((*rows)[0] == whole)
      config.global_layers.push_back(layers);
    else
      config.window = ((*rows)[0] + 1) / 2;
  }
  config.num_layers = layers;
  return config;
}

bool SamVitConfig::is_global(int64_t layer) const {
  return std::find(global_layers.begin(), global_layers.end(), layer) != global_layers.end();
}

SamNeck::SamNeck(const Weights& w, int64_t width, int64_t channels, const SamNeckNames& names)
    : conv1_((w / names.conv1).take("weight", {channels, width, 1, 1})),
      conv2_((w / names.conv2).take("weight", {channels, channels, 3, 3})),
      norm1_(w / names.norm1, channels, nn::NormKind::layer, 1e-6),
      norm2_(w / names.norm2, channels, nn::NormKind::layer, 1e-6) {}

Tensor SamNeck::operator()(const Tensor& x_NhwV) const {
  auto over_channels = [](const nn::Norm& norm, const Tensor& x_NChw) {
    return norm(x_NChw.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
  };
  Tensor x_NChw = over_channels(norm1_, at::conv2d(x_NhwV.permute({0, 3, 1, 2}), conv1_));
  return over_channels(norm2_, at::conv2d(x_NChw, conv2_, {}, 1, 1));
}

SamVit::SamVit(const SamVitConfig& config, const Weights& w) : config_(config) {
  const SamVitNames& names = config.names;
  int64_t width = config.width, side = config.patch_size, grid = config.grid();
  Weights patch = w / names.patch;
  patch_weight_ = patch.take("weight", {width, config.num_channels, side, side});
  patch_bias_ = patch.take("bias", {width});
  positions_1hwV_ = w.take("pos_embed", {1, grid, grid, width});
  for (int64_t idx = 0; idx < config.num_layers; ++idx) {
    Weights at = w / names.layers / idx;
    Layer layer;
    layer.is_global = config.is_global(idx);
    layer.norm1 = nn::Norm(at / names.norm1, width, nn::NormKind::layer, config.norm_eps);
    layer.norm2 = nn::Norm(at / names.norm2, width, nn::NormKind::layer, config.norm_eps);
    layer.qkv =
        nn::Linear(at / "attn.qkv", width, 3 * width, config.has_qkv_bias ? nn::Bias::yes : nn::Bias::none);
    layer.proj = nn::Linear(at / "attn.proj", width, width, nn::Bias::yes);
    if (config.has_relative_positions) {
      int64_t count = 2 * (layer.is_global ? grid : config.window) - 1;
      layer.rows_LE = at.take("attn.rel_pos_h", {count, width / config.num_heads});
      layer.columns_LE = at.take("attn.rel_pos_w", {count, width / config.num_heads});
    }
    layer.mlp = nn::Mlp(at / "mlp", width, config.inner, config.hidden_act, nn::Bias::yes, {"lin1", "lin2"});
    layers_.push_back(std::move(layer));
  }
  neck_ = SamNeck(w / "neck", width, config.out_channels, names.neck);
}

// Relative positions as features of queries and keys: what a query finds at its distance to each row and
// column stands behind its own features, and a key picks its row and column by ones. So no table of all pairs
// of places is made: of 1024 pixels it would take 0.8 GB a layer.
Tensor SamVit::attend(const Layer& layer, const Tensor& x_BhwV) const {
  int64_t batch = x_BhwV.size(0), height = x_BhwV.size(1), width = x_BhwV.size(2), places = height * width;
  int64_t heads = config_.num_heads, head_width = config_.width / heads;
  Tensor qkv = layer.qkv(x_BhwV).view({batch, height, width, 3, heads, head_width});
  Tensor q_BhwAE = qkv.select(3, 0), k_BhwAE = qkv.select(3, 1);
  double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  ops::AttentionArgs args;
  args.may_round = layer.proj.is_rounded();
  if (layer.rows_LE.defined()) {
    Tensor by_row = at::matmul(q_BhwAE.permute({1, 0, 2, 3, 4}).reshape({height, -1, head_width}),
                               distances(layer.rows_LE, height).transpose(1, 2))
                        .view({height, batch, width, heads, height})
                        .permute({1, 0, 2, 3, 4});
    Tensor by_column = at::matmul(q_BhwAE.permute({2, 0, 1, 3, 4}).reshape({width, -1, head_width}),
                                  distances(layer.columns_LE, width).transpose(1, 2))
                           .view({width, batch, height, heads, width})
                           .permute({1, 2, 0, 3, 4});
    Tensor row_of_key = at::eye(height).view({1, height, 1, 1, height});
    Tensor column_of_key = at::eye(width).view({1, 1, width, 1, width});
    q_BhwAE = at::cat({q_BhwAE * scale, by_row, by_column}, 4);
    k_BhwAE = at::cat({k_BhwAE, row_of_key.expand({batch, -1, width, heads, -1}),
                       column_of_key.expand({batch, height, -1, heads, -1})},
                      4);
  } else {
    args.scale = scale;
  }
  auto flat = [&](const Tensor& t) { return t.reshape({batch, places, heads, -1}); };
  Tensor mixed = ops::attention(flat(q_BhwAE), flat(k_BhwAE), flat(qkv.select(3, 2)), args);
  return layer.proj(mixed.reshape(x_BhwV.sizes()));
}

// Windows at the right and lower border are filled up with zeros, which attend like everything else.
Tensor SamVit::attend_in_windows(const Layer& layer, const Tensor& x_NhwV) const {
  int64_t batch = x_NhwV.size(0), height = x_NhwV.size(1), width = x_NhwV.size(2), side = config_.window;
  int64_t rows = (height + side - 1) / side, columns = (width + side - 1) / side;
  Tensor padded = at::constant_pad_nd(x_NhwV, {0, 0, 0, columns * side - width, 0, rows * side - height});
  Tensor windows = padded.view({batch, rows, side, columns, side, -1})
                       .permute({0, 1, 3, 2, 4, 5})
                       .reshape({-1, side, side, config_.width});
  return attend(layer, windows)
      .view({batch, rows, columns, side, side, -1})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({batch, rows * side, columns * side, -1})
      .slice(1, 0, height)
      .slice(2, 0, width);
}

SamVit::States SamVit::operator()(const Tensor& pixels_N3HW) const {
  VLM_SHAPE(pixels_N3HW, kAny, config_.num_channels, config_.image_size, config_.image_size);
  States states;
  Tensor x_NhwV = embed_patches(pixels_N3HW, patch_weight_, patch_bias_);
  x_NhwV = trace::point("hidden/sam/embeddings", x_NhwV + positions_1hwV_);
  for (size_t idx = 0; idx < layers_.size(); ++idx) {
    const Layer& layer = layers_[idx];
    Tensor normed = layer.norm1(x_NhwV);
    x_NhwV = x_NhwV + (layer.is_global ? attend(layer, normed) : attend_in_windows(layer, normed));
    x_NhwV = x_NhwV + layer.mlp(layer.norm2(x_NhwV));
    trace::point("hidden/sam", static_cast<int64_t>(idx), x_NhwV);
    if (layer.is_global && !states.first_global_NhwV.defined()) states.first_global_NhwV = x_NhwV;
  }
  states.embeddings_NChw = trace::point("hidden/sam/neck", neck_(x_NhwV));
  return states;
}

}  // namespace vlm
