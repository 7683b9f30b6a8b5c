#include "parts/encoders/davit.h"

#include <cmath>

#include "ops/attention.h"

namespace vlm {

namespace {

constexpr double kNormEps = 1e-5;
constexpr int64_t kMlpRatio = 4;

Tensor to_rows(const Tensor& x_NCHW) {
  return x_NCHW.flatten(2).transpose(1, 2);
}

Tensor to_map(const Tensor& x_NTC, int64_t height, int64_t width) {
  return x_NTC.transpose(1, 2).reshape({x_NTC.size(0), x_NTC.size(2), height, width});
}

}  // namespace

DavitConfig DavitConfig::from(const Json& json) {
  auto list = [&](const char* key) {
    std::vector<int64_t> values = json.at(key).as<std::vector<int64_t>>();
    for (int64_t value : values)
      if (value < 0 || value > (1 << 16))
        fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
             "{}: {} is out of range [0, 65536]", json.at(key).path(), value);
    return values;
  };
  std::vector<int64_t> widths = list("dim_embed"), depths = list("depths"), heads = list("num_heads"),
                       groups = list("num_groups"), sizes = list("patch_size"),
                       strides = list("patch_stride"), paddings = list("patch_padding");
  Json prenorms = json.at("patch_prenorm");
  for (size_t other : {depths.size(), heads.size(), groups.size(), sizes.size(), strides.size(),
                       paddings.size(), static_cast<size_t>(prenorms.size())})
    if (other != widths.size() || widths.empty())
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "{}: lists of stages differ in length ({} and {})", json.path(), widths.size(), other);
  DavitConfig config;
  for (size_t idx = 0; idx < widths.size(); ++idx) {
    Stage stage{widths[idx], depths[idx],  heads[idx],    groups[idx],
                sizes[idx],  strides[idx], paddings[idx], prenorms[static_cast<int64_t>(idx)].as<bool>()};
    bool divides = stage.num_heads > 0 && stage.num_groups > 0 && stage.width > 0 &&
                   stage.width % stage.num_heads == 0 && stage.width % stage.num_groups == 0;
    if (!divides || stage.patch_size < 1 || stage.patch_stride < 1)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "{}: stage {} has width {}, {} heads, {} groups, patches of {} every {}", json.path(), idx,
           stage.width, stage.num_heads, stage.num_groups, stage.patch_size, stage.patch_stride);
    config.stages.push_back(stage);
  }
  config.window_size = json.integer("window_size", 1, 1 << 10, 12);
  json.ignore({"drop_path_rate", "enable_checkpoint"});
  return config;
}

int64_t DavitConfig::places(int64_t side_px) const {
  for (const Stage& stage : stages)
    side_px = (side_px + 2 * stage.patch_padding - stage.patch_size) / stage.patch_stride + 1;
  return side_px;
}

Davit::Davit(const DavitConfig& config, const Weights& w) : config_(config) {
  int64_t channels = 3;
  for (size_t at = 0; at < config.stages.size(); ++at) {
    const DavitConfig::Stage& sizes = config.stages[at];
    int64_t idx = static_cast<int64_t>(at);
    Weights patch = w / "convs" / idx;
    Stage stage;
    stage.patch = {patch.take("proj.weight", {sizes.width, channels, sizes.patch_size, sizes.patch_size}),
                   patch.take("proj.bias", {sizes.width})};
    stage.norm =
        nn::Norm(patch / "norm", sizes.has_prenorm ? channels : sizes.width, nn::NormKind::layer, kNormEps);
    for (int64_t block = 0; block < sizes.depth; ++block) {
      Weights below = w / "blocks" / idx / block;
      stage.spatial.push_back(make_half(below / "spatial_block", "window_attn", sizes.width));
      stage.channel.push_back(make_half(below / "channel_block", "channel_attn", sizes.width));
    }
    stages_.push_back(std::move(stage));
    channels = sizes.width;
  }
}

Davit::Half Davit::make_half(const Weights& w, const char* attention, int64_t width) const {
  auto depthwise = [&](const char* name) {
    Weights below = w / name;
    return Convolution{below.take("fn.dw.weight", {width, 1, 3, 3}), below.take("fn.dw.bias", {width})};
  };
  Weights below = w / attention;
  Half half;
  half.before_attention = depthwise("conv1");
  half.attention_norm = nn::Norm(below / "norm", width, nn::NormKind::layer, kNormEps);
  half.qkv = nn::Linear(below / "fn.qkv", width, 3 * width, nn::Bias::if_stored);
  half.out = nn::Linear(below / "fn.proj", width, width, nn::Bias::yes);
  half.before_mlp = depthwise("conv2");
  half.mlp_norm = nn::Norm(w / "ffn.norm", width, nn::NormKind::layer, kNormEps);
  half.mlp = nn::Mlp(w / "ffn.fn.net", width, kMlpRatio * width, Act::gelu_erf, nn::Bias::yes);
  return half;
}

Tensor Davit::embed(const Stage& stage, const DavitConfig::Stage& config, Tensor x_NCHW) const {
  auto norm = [&](const Tensor& x) {
    return stage.norm(x.permute({0, 2, 3, 1}).contiguous()).permute({0, 3, 1, 2});
  };
  if (config.has_prenorm) x_NCHW = norm(x_NCHW);
  x_NCHW =
      at::conv2d(x_NCHW, stage.patch.weight, stage.patch.bias, {config.patch_stride, config.patch_stride},
                 {config.patch_padding, config.patch_padding});
  return config.has_prenorm ? x_NCHW : norm(x_NCHW);
}

Tensor Davit::run(const Half& half, const Attention& attend, Tensor x_NCHW) const {
  int64_t height = x_NCHW.size(2), width = x_NCHW.size(3);
  auto convolve = [&](const Convolution& conv, const Tensor& x) {
    return x + at::conv2d(x, conv.weight, conv.bias, {1, 1}, {1, 1}, {1, 1}, /*groups=*/x.size(1));
  };
  x_NCHW = convolve(half.before_attention, x_NCHW);
  Tensor x_NTC = to_rows(x_NCHW).contiguous();
  Tensor normed_NHWC = half.attention_norm(x_NTC).view({x_NTC.size(0), height, width, x_NTC.size(2)});
  x_NTC = x_NTC + attend(half, normed_NHWC);
  x_NTC = to_rows(convolve(half.before_mlp, to_map(x_NTC, height, width))).contiguous();
  return to_map(x_NTC + half.mlp(half.mlp_norm(x_NTC)), height, width);
}

// Rows and columns beyond the picture are zeros, and are seen like any other.
Tensor Davit::attend_windows(const Half& half, const Tensor& x_NHWC, int64_t num_heads) const {
  int64_t batch = x_NHWC.size(0), height = x_NHWC.size(1), width = x_NHWC.size(2), channels = x_NHWC.size(3),
          side = config_.window_size;
  int64_t down = (side - height % side) % side, right = (side - width % side) % side;
  Tensor padded = at::constant_pad_nd(x_NHWC, {0, 0, 0, right, 0, down});
  int64_t rows = (height + down) / side, columns = (width + right) / side;
  // (N rows columns)(side side)C <- N(rows side)(columns side)C
  Tensor windows = padded.view({batch, rows, side, columns, side, channels})
                       .permute({0, 1, 3, 2, 4, 5})
                       .reshape({-1, side * side, channels});
  Tensor qkv = half.qkv(windows).view({windows.size(0), side * side, 3, num_heads, channels / num_heads});
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(channels / num_heads));
  args.may_round = half.out.is_rounded();
  Tensor mixed = ops::attention(qkv.select(2, 0), qkv.select(2, 1), qkv.select(2, 2), args);
  return half.out(mixed.reshape(windows.sizes()))
      .view({batch, rows, columns, side, side, channels})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({batch, rows * side, columns * side, channels})
      .slice(1, 0, height)
      .slice(2, 0, width)
      .reshape({batch, height * width, channels});
}

// Every channel of a group attends to the group's channels; its features are the tokens.
Tensor Davit::attend_channels(const Half& half, const Tensor& x_NHWC, int64_t num_groups) const {
  Tensor x_NTC = x_NHWC.flatten(1, 2);
  int64_t batch = x_NTC.size(0), tokens = x_NTC.size(1), channels = x_NTC.size(2);
  // 3 of NGcT <- NT(3 G c)
  Tensor qkv =
      half.qkv(x_NTC).view({batch, tokens, 3, num_groups, channels / num_groups}).permute({2, 0, 3, 4, 1});
  double scale = 1.0 / std::sqrt(static_cast<double>(tokens));
  Tensor shares_NGcc = at::softmax(at::matmul(qkv[0] * scale, qkv[1].transpose(-2, -1)), -1);
  Tensor mixed_NGcT = at::matmul(shares_NGcc, qkv[2]);
  return half.out(mixed_NGcT.permute({0, 3, 1, 2}).reshape({batch, tokens, channels}));
}

Tensor Davit::operator()(Tensor x_NCHW) const {
  VLM_SHAPE(x_NCHW, kAny, 3, kAny, kAny);
  for (size_t idx = 0; idx < stages_.size(); ++idx) {
    const Stage& stage = stages_[idx];
    const DavitConfig::Stage& sizes = config_.stages[idx];
    x_NCHW = trace::point("hidden/conv", static_cast<int64_t>(idx), embed(stage, sizes, x_NCHW));
    for (size_t block = 0; block < stage.spatial.size(); ++block) {
      x_NCHW = run(
          stage.spatial[block],
          [&](const Half& half, const Tensor& x) { return attend_windows(half, x, sizes.num_heads); },
          x_NCHW);
      x_NCHW = run(
          stage.channel[block],
          [&](const Half& half, const Tensor& x) { return attend_channels(half, x, sizes.num_groups); },
          x_NCHW);
    }
    trace::point("hidden/stage", static_cast<int64_t>(idx), x_NCHW);
  }
  return trace::point("hidden/vision", x_NCHW);
}

}  // namespace vlm
