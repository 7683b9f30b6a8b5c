#include "parts/decoders/causal.h"

#include <cmath>

#include "ops/residual.h"
#include "ops/rope.h"

namespace vlm {

namespace {

constexpr double kPi = 3.14159265358979323846;

// Of a long prompt. Weights are read once for every piece, which takes a hundredth of the time that
// multiplying by them does; what a piece needs grows with it.
constexpr int64_t kMostTokensAtOnce = 1024;

// 1 / theta^(2r / R), and Llama 3.1's stretching of long waves (transformers modeling_rope_utils, "llama3").
Tensor inverse_frequencies(const RopeConfig& rope, int64_t rotary_dim) {
  std::vector<float> values;
  for (int64_t idx = 0; idx < rotary_dim; idx += 2) {
    double frequency = 1.0 / std::pow(rope.theta, static_cast<double>(idx) / static_cast<double>(rotary_dim));
    if (rope.is_llama3) {
      double wave = 2 * kPi / frequency;
      double low = rope.original_max_positions / rope.low_freq_factor,
             high = rope.original_max_positions / rope.high_freq_factor;
      double smooth = (rope.original_max_positions / wave - rope.low_freq_factor) /
                      (rope.high_freq_factor - rope.low_freq_factor);
      if (wave > low)
        frequency /= rope.factor;
      else if (wave >= high)
        frequency = (1 - smooth) * frequency / rope.factor + smooth * frequency;
    } else {
      frequency /= rope.factor;
    }
    values.push_back(static_cast<float>(frequency));
  }
  return at::tensor(values);
}

// ALiBi slopes as MPT orders them: of the next power of two P the slopes 2^(-max * i / P), i = 1..P, every
// second one first.
Tensor alibi_slopes(int64_t num_heads, double bias_max) {
  int64_t power = 1;
  while (power < num_heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t idx = 1; idx <= power; ++idx)
    slopes.push_back(
        static_cast<float>(std::pow(2.0, -bias_max * static_cast<double>(idx) / static_cast<double>(power))));
  if (power == num_heads) return at::tensor(slopes);
  std::vector<float> ordered;
  for (size_t idx = 1; idx < slopes.size(); idx += 2) ordered.push_back(slopes[idx]);
  for (size_t idx = 0; idx < slopes.size(); idx += 2) ordered.push_back(slopes[idx]);
  ordered.resize(static_cast<size_t>(num_heads));
  return at::tensor(ordered);
}

// tensor2tensor's form: sines of all frequencies, then their cosines. [T, width]
Tensor sinusoids(const Tensor& positions_T, int64_t width) {
  int64_t half = width / 2;
  double step = std::log(10000.0) / static_cast<double>(half - 1);
  Tensor frequencies = (at::arange(half, at::kFloat) * static_cast<float>(-step)).exp();
  Tensor angles = positions_T.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return at::constant_pad_nd(at::cat({angles.sin(), angles.cos()}, 1), {0, width % 2});
}

Tensor norm_heads(const std::vector<nn::Norm>& norms, const Tensor& x_TAE) {
  if (norms.empty()) return x_TAE;
  if (norms.size() == 1) return norms.front()(x_TAE.contiguous());
  std::vector<Tensor> heads;
  for (size_t idx = 0; idx < norms.size(); ++idx)
    heads.push_back(norms[idx](x_TAE.select(1, static_cast<int64_t>(idx))));
  return at::stack(heads, 1);
}

nn::Bias bias_if(bool has_bias) {
  return has_bias ? nn::Bias::yes : nn::Bias::none;
}

}  // namespace

CausalDecoder::CausalDecoder(const DecoderConfig& config, const Weights& w) : config_(config) {
  const DecoderNames& names = config.names;
  int64_t width = config.hidden_size, embed_width = config.embed_width ? config.embed_width : width;
  Weights stem = w / names.stem;
  embed_ = nn::Embedding(stem / names.embed, config.vocab_size, embed_width);
  if (config.position == PositionKind::learnt)
    positions_ = nn::Embedding(stem / "embed_positions",
                               config.max_position_embeddings + config.position_offset, width);
  if (embed_width != width) {
    project_in_ = nn::Linear(stem / "project_in", embed_width, width, nn::Bias::none);
    project_out_ = nn::Linear(stem / "project_out", width, embed_width, nn::Bias::none);
  }
  for (int64_t idx = 0; idx < config.num_hidden_layers; ++idx)
    layers_.push_back(make_layer(stem / names.layers / idx));
  if (config.has_final_norm)
    final_norm_ = nn::Norm(stem / names.final_norm, width, config.norm, config.norm_eps);
  Weights head = config.is_tied ? stem / names.embed : w / names.head;
  head_ = nn::Linear(head, embed_width, config.vocab_size, bias_if(config.has_head_bias));
  if (config.additional_vocab_size > 0) {
    additional_embed_ =
        nn::Embedding(stem / names.embed / "additional_embedding", config.additional_vocab_size, embed_width);
    additional_head_ = nn::Linear(w / names.head / "additional_fc", embed_width, config.additional_vocab_size,
                                  nn::Bias::none);
  }
  if (config.is_tied) w.ignore(std::string(names.head) + ".weight");  // a second copy in some files
  w.ignore("*rotary_emb.inv_freq");                                   // tables that follow from the config
  if (config.position == PositionKind::rotary)
    inverse_frequencies_R_ =
        inverse_frequencies(config.rope, config.rotary_dim ? config.rotary_dim : config.head_dim);
  if (config.position == PositionKind::alibi)
    alibi_slopes_A_ = alibi_slopes(config.num_attention_heads, config.alibi_bias_max);
}

CausalDecoder::Layer CausalDecoder::make_layer(const Weights& w) const {
  const DecoderNames& names = config_.names;
  int64_t width = config_.hidden_size, head_dim = config_.head_dim;
  int64_t q_width = config_.num_attention_heads * head_dim, kv_width = config_.num_key_value_heads * head_dim;
  Layer layer;
  layer.norm1 = nn::Norm(w / names.norm1, width, config_.norm, config_.norm_eps);
  if (config_.residual != Residual::parallel_one_norm)
    layer.norm2 = nn::Norm(w / names.norm2, width, config_.norm, config_.norm_eps);
  nn::Bias qkv_bias = bias_if(config_.has_qkv_bias);
  if (config_.qkv_layout == QkvLayout::separate) {
    layer.q = nn::Linear(w / names.q, width, q_width, qkv_bias);
    layer.k = nn::Linear(w / names.k, width, kv_width, qkv_bias);
    layer.v = nn::Linear(w / names.v, width, kv_width, qkv_bias);
  } else {
    layer.qkv = nn::Linear(w / names.qkv, width, q_width + 2 * kv_width, qkv_bias);
  }
  if (names.inner_norm)
    layer.inner_norm = nn::Norm(w / names.inner_norm, q_width, config_.norm, config_.norm_eps);
  layer.out = nn::Linear(w / names.out, q_width, width, bias_if(config_.has_out_bias));
  if (config_.qk_norm == QkNorm::shared) {
    layer.q_norms.emplace_back(w / "self_attn.q_layernorm", head_dim, nn::NormKind::layer, config_.norm_eps);
    layer.k_norms.emplace_back(w / "self_attn.k_layernorm", head_dim, nn::NormKind::layer, config_.norm_eps);
  }
  if (config_.qk_norm == QkNorm::each_head) {
    for (int64_t head = 0; head < config_.num_attention_heads; ++head)
      layer.q_norms.emplace_back(w / "self_attn.q_layernorm.norms" / head, head_dim,
                                 nn::NormKind::layer_no_bias, config_.norm_eps);
    for (int64_t head = 0; head < config_.num_key_value_heads; ++head)
      layer.k_norms.emplace_back(w / "self_attn.k_layernorm.norms" / head, head_dim,
                                 nn::NormKind::layer_no_bias, config_.norm_eps);
  }
  if (config_.num_experts > 0)
    layer.moe = nn::Moe(w / "block_sparse_moe", width, config_.intermediate_size, config_.num_experts,
                        config_.num_active_experts, config_.act, nn::kMixtralExpert);
  else
    layer.mlp = nn::Mlp(w, width, config_.intermediate_size, config_.act, bias_if(config_.has_mlp_bias),
                        names.mlp, config_.norm_eps);
  return layer;
}

Tensor CausalDecoder::embed(const Tensor& ids_T) const {
  Tensor x_TD;
  if (config_.additional_vocab_size > 0) {  // each id is looked up in both tables, and one row kept
    Tensor is_additional_T = ids_T >= config_.vocab_size;
    x_TD =
        at::where(is_additional_T.unsqueeze(1), additional_embed_((ids_T - config_.vocab_size).clamp_min(0)),
                  embed_(ids_T.masked_fill(is_additional_T, 0)));
  } else {
    x_TD = embed_(ids_T);
  }
  if (config_.embed_scale != 1) x_TD = x_TD * config_.embed_scale;
  return project_in_.defined() ? project_in_(x_TD) : x_TD;
}

// "Dynamic" NTK scaling: a sequence of L > max_position_embeddings tokens turns by
// theta * (factor * L / max - (factor - 1))^(R / (R - 2)). Keys stored before keep the angles they had.
Tensor CausalDecoder::stretched_angles(const nn::Packed& packed, const Tensor& positions_T) const {
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const nn::Packed::Span& span : packed.spans) {
    int64_t length = span.count + (span.cache ? span.cache->length() : 0);
    Tensor frequencies_R = inverse_frequencies_R_;
    if (length > config_.max_position_embeddings) {
      double factor = config_.rope.dynamic_factor, width = static_cast<double>(2 * frequencies_R.size(0));
      double grown =
          factor * static_cast<double>(length) / static_cast<double>(config_.max_position_embeddings);
      RopeConfig stretched = config_.rope;
      stretched.theta *= std::pow(grown - (factor - 1), width / (width - 2));
      frequencies_R = inverse_frequencies(stretched, 2 * frequencies_R.size(0));
    }
    parts.push_back(positions_T.narrow(0, begin, span.count).to(at::kFloat).unsqueeze(1) *
                    frequencies_R.unsqueeze(0));
    begin += span.count;
  }
  return at::cat(parts);
}

CausalDecoder::Rotation CausalDecoder::rotation(const nn::Packed& packed, const Tensor& positions_T) const {
  Tensor angles_TR;
  if (config_.rope.dynamic_factor > 0 && positions_T.dim() == 1) {
    angles_TR = stretched_angles(packed, positions_T);
  } else if (positions_T.dim() == 2) {  // [3, T]: each section of the frequencies by its own positions
    std::vector<Tensor> parts;
    int64_t begin = 0;
    for (size_t axis = 0; axis < config_.rope.sections.size(); ++axis) {
      int64_t count = config_.rope.sections[axis];
      parts.push_back(positions_T[static_cast<int64_t>(axis)].to(at::kFloat).unsqueeze(1) *
                      inverse_frequencies_R_.narrow(0, begin, count).unsqueeze(0));
      begin += count;
    }
    angles_TR = at::cat(parts, 1);
  } else {
    angles_TR = positions_T.to(at::kFloat).unsqueeze(1) * inverse_frequencies_R_.unsqueeze(0);
  }
  // How LibTorch rounds an angle's sine depends on the angles in the same vector (Sleef takes another way for
  // all of them when one is large). Rows of whole vectors keep a token's angles from depending on its
  // neighbours.
  constexpr int64_t kVector = 16;
  const int64_t count = angles_TR.size(1), missing = (kVector - count % kVector) % kVector;
  if (missing == 0) return {angles_TR.cos(), angles_TR.sin()};
  angles_TR = at::constant_pad_nd(angles_TR, {0, missing});
  return {angles_TR.cos().narrow(1, 0, count).contiguous(), angles_TR.sin().narrow(1, 0, count).contiguous()};
}

Tensor CausalDecoder::attend(const Layer& layer, int64_t idx, const Tensor& x_TD, const nn::Packed& packed,
                             const Rotation& rotation) const {
  int64_t tokens = x_TD.size(0), heads = config_.num_attention_heads, groups = config_.num_key_value_heads,
          width = config_.head_dim;
  Tensor q, k, v;
  switch (config_.qkv_layout) {
    case QkvLayout::separate: {
      std::vector<Tensor> parts = nn::apply_together(x_TD, {&layer.q, &layer.k, &layer.v});
      q = parts[0], k = parts[1], v = parts[2];
      break;
    }
    case QkvLayout::thirds: {
      Tensor fused = layer.qkv(x_TD);
      q = fused.narrow(1, 0, heads * width), k = fused.narrow(1, heads * width, groups * width);
      v = fused.narrow(1, (heads + groups) * width, groups * width);
      break;
    }
    case QkvLayout::per_head: {
      Tensor fused = layer.qkv(x_TD).view({tokens, heads, 3, width});
      q = fused.select(2, 0), k = fused.select(2, 1), v = fused.select(2, 2);
      break;
    }
  }
  if (config_.clip_qkv > 0) {
    q = q.clamp(-config_.clip_qkv, config_.clip_qkv), k = k.clamp(-config_.clip_qkv, config_.clip_qkv);
    v = v.clamp(-config_.clip_qkv, config_.clip_qkv);
  }
  Tensor q_TAE = norm_heads(layer.q_norms, q.reshape({tokens, heads, width}));
  Tensor k_TGE = norm_heads(layer.k_norms, k.reshape({tokens, groups, width}));
  if (rotation.cos_TR.defined()) {
    q_TAE = ops::rope(q_TAE, rotation.cos_TR, rotation.sin_TR);
    k_TGE = ops::rope(k_TGE, rotation.cos_TR, rotation.sin_TR);
  }
  trace::point("attention/text/query", idx, q_TAE);
  trace::point("attention/text/key", idx, k_TGE);
  ops::AttentionArgs args;
  args.scale =
      config_.softmax_scale > 0 ? config_.softmax_scale : 1.0 / std::sqrt(static_cast<double>(width));
  args.is_causal = true;
  args.window = config_.sliding_window;
  args.alibi_slopes = alibi_slopes_A_;
  args.may_round = layer.out.is_rounded();
  Tensor mixed_TD = nn::attend(q_TAE, k_TGE, v.reshape({tokens, groups, width}), packed, idx, args);
  return layer.out(layer.inner_norm.defined() ? layer.inner_norm(mixed_TD) : mixed_TD);
}

Tensor CausalDecoder::feed_forward(const Layer& layer, const Tensor& x_TD) const {
  return layer.moe.defined() ? layer.moe(x_TD) : layer.mlp(x_TD);
}

CausalDecoder::Entrance CausalDecoder::Entrance::piece(int64_t begin, int64_t count) const {
  Entrance part{x_TD.narrow(0, begin, count), {}};
  if (rotation.cos_TR.defined())
    part.rotation = {rotation.cos_TR.narrow(0, begin, count), rotation.sin_TR.narrow(0, begin, count)};
  return part;
}

CausalDecoder::Entrance CausalDecoder::enter(Tensor x_TD, const nn::Packed& packed) const {
  VLM_SHAPE(x_TD, packed.total(), config_.hidden_size);
  Tensor positions_T = packed.positions();
  Rotation rotation;
  if (config_.position == PositionKind::rotary)
    rotation =
        this->rotation(packed, packed.rotary_positions.defined() ? packed.rotary_positions : positions_T);
  if (config_.input_scale != 1) x_TD = x_TD * config_.input_scale;
  if (config_.position == PositionKind::sinusoidal)
    x_TD = x_TD + sinusoids(positions_T + config_.position_offset, config_.hidden_size);
  if (config_.position == PositionKind::learnt)
    x_TD = x_TD + positions_(positions_T + config_.position_offset);
  return {std::move(x_TD), std::move(rotation)};
}

Tensor CausalDecoder::forward(Tensor x_TD, const nn::Packed& packed, const LayerHook& before_layer) const {
  return run_layers(enter(std::move(x_TD), packed), packed, before_layer);
}

Tensor CausalDecoder::prefill(Tensor x_TD, const nn::Packed& packed, bool all_rows,
                              const LayerHook& before_layer) const {
  VLM_CHECK(packed.spans.size() == 1, "a prompt of {} sequences", packed.spans.size());
  nn::Packed::Span span = packed.spans.front();
  // What sees a prefix needs the whole prefix at once; a traced pass shows whole tensors.
  int64_t tokens = span.count, together = span.cache ? span.prefix - span.cache->length() : tokens;
  bool is_whole = tokens <= kMostTokensAtOnce || together >= tokens || before_layer || trace::listening() ||
                  at::GradMode::is_enabled();
  if (is_whole) {
    x_TD = forward(std::move(x_TD), packed, before_layer);
    return all_rows ? x_TD : x_TD.slice(0, -1);
  }
  Entrance entrance = enter(std::move(x_TD), packed);
  std::vector<Tensor> rows;
  int64_t begin = 0;
  auto run = [&](int64_t count) {
    span.count = count;
    Tensor piece_TD = run_layers(entrance.piece(begin, count), nn::Packed{{span}}, {});
    begin += count;
    if (all_rows)
      rows.push_back(piece_TD);
    else if (begin == tokens)
      rows.push_back(piece_TD.slice(0, -1).clone());
  };
  if (together > 0) run(together);
  int64_t rest = tokens - begin, pieces = (rest + kMostTokensAtOnce - 1) / kMostTokensAtOnce;
  for (int64_t first = begin, piece = 1; piece <= pieces; ++piece) run(first + rest * piece / pieces - begin);
  return rows.size() == 1 ? rows[0] : at::cat(rows);
}

Tensor CausalDecoder::run_layers(Entrance entrance, const nn::Packed& packed,
                                 const LayerHook& before_layer) const {
  Tensor x_TD = std::move(entrance.x_TD);
  const Rotation& rotation = entrance.rotation;
  for (size_t at = 0; at < layers_.size(); ++at) {
    const Layer& layer = layers_[at];
    int64_t idx = static_cast<int64_t>(at);
    if (before_layer) x_TD = before_layer(idx, x_TD);
    switch (config_.residual) {
      case Residual::sequential:
        x_TD = ops::add_residual(x_TD, attend(layer, idx, layer.norm1(x_TD), packed, rotation));
        x_TD = ops::add_residual(x_TD, feed_forward(layer, layer.norm2(x_TD)));
        break;
      case Residual::parallel:
        x_TD = ops::add_residual(
            ops::add_residual(x_TD, attend(layer, idx, layer.norm1(x_TD), packed, rotation)),
            feed_forward(layer, layer.norm2(x_TD)));
        break;
      case Residual::parallel_one_norm: {
        Tensor normed_TD = layer.norm1(x_TD);
        x_TD = ops::add_residual(ops::add_residual(x_TD, attend(layer, idx, normed_TD, packed, rotation)),
                                 feed_forward(layer, normed_TD));
        break;
      }
      case Residual::post_norm:
        x_TD = layer.norm1(x_TD + attend(layer, idx, x_TD, packed, rotation));
        x_TD = layer.norm2(x_TD + feed_forward(layer, x_TD));
        break;
    }
    trace::point("hidden/text", idx, x_TD);
  }
  packed.advance();
  return final_norm_.defined() ? final_norm_(x_TD) : x_TD;
}

Tensor CausalDecoder::logits(const Tensor& x_TD) const {
  Tensor rows_TD = project_out_.defined() ? project_out_(x_TD) : x_TD;
  if (config_.additional_vocab_size > 0) return at::cat({head_(rows_TD), additional_head_(rows_TD)}, -1);
  return head_(rows_TD);
}

}  // namespace vlm
