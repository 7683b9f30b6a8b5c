// One causal language model, configured by data: LLaMA, Vicuna, Mistral, Mixtral, Qwen2, Gemma, Phi,
// StableLM, GPT-NeoX, MPT, OPT, Persimmon, KOSMOS-2.
//
//   ids_T --embed--> x_TD --[norm, attention, norm, MLP or experts] x L--> --final norm--> --head-->
//   logits_TK
//
// T tokens of one or several packed sequences, D width, A query heads, G key heads, E head width, K
// vocabulary.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/moe.h"
#include "nn/norm.h"

namespace vlm {

// How q, k and v are published.
enum class QkvLayout {
  separate,  // three matrices
  thirds,    // one matrix: all of q, all of k, all of v
  per_head,  // one matrix: q, k, v of the first head, then of the second, ...
};

enum class PositionKind { rotary, alibi, learnt, sinusoidal };

// Normalisation of queries and keys before they turn.
enum class QkNorm {
  none,
  each_head,  // a LayerNorm without bias for every head (StableLM 2 12B)
  shared,     // one LayerNorm for all heads (Persimmon)
};

// How attention and MLP join the residual stream.
enum class Residual {
  sequential,         // x + attn(norm1 x), then x + mlp(norm2 x)
  parallel,           // x + attn(norm1 x) + mlp(norm2 x)
  parallel_one_norm,  // x + attn(norm1 x) + mlp(norm1 x)
  post_norm,          // norm1(x + attn x), then norm2(x + mlp x): OPT-350m
};

struct DecoderNames {
  const char* stem;   // above everything but the head: "model"
  const char* embed;  // below the stem
  const char* layers;
  const char* final_norm;
  const char* head;   // full name; the embedding's when tied
  const char* norm1;  // of a layer
  const char* norm2;
  const char* q;
  const char* k;
  const char* v;
  const char* qkv;
  const char* out;
  nn::MlpNames mlp;
  const char* inner_norm = nullptr;  // in front of `out` (MAGNETO); null: none
};

struct RopeConfig {
  double theta = 10000;
  double factor = 1;       // positions are divided by it ("linear")
  bool is_llama3 = false;  // wave lengths beyond the original context are stretched by `factor`
  double low_freq_factor = 1, high_freq_factor = 4;
  double original_max_positions = 8192;
  double dynamic_factor = 0;      // > 0: theta grows with sequences longer than max_position_embeddings
  std::vector<int64_t> sections;  // M-RoPE: frequencies turned by time, by row, by column, in order
};

struct DecoderConfig {
  DecoderNames names;
  int64_t vocab_size = 32000;
  int64_t additional_vocab_size = 0;  // ids behind vocab_size, with tables of their own (IDEFICS)
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 32;
  int64_t head_dim = 128;
  int64_t max_position_embeddings = 2048;
  nn::NormKind norm = nn::NormKind::rms;
  double norm_eps = 1e-6;
  Act act = Act::silu;
  QkvLayout qkv_layout = QkvLayout::separate;
  PositionKind position = PositionKind::rotary;
  Residual residual = Residual::sequential;
  QkNorm qk_norm = QkNorm::none;
  RopeConfig rope;
  int64_t rotary_dim = 0;       // features of a head that turn; 0: all
  int64_t sliding_window = 0;   // 0: none
  int64_t position_offset = 0;  // rows of a learnt table before position 0 (OPT: 2)
  int64_t embed_width = 0;  // of the embedding table when narrower than hidden_size (OPT-350m); 0: the same
  double embed_scale = 1;
  double input_scale = 1;  // of whatever enters the layers, spliced rows too; positions are added afterwards
  double alibi_bias_max = 8;
  double clip_qkv = 0;       // > 0: q, k, v are clamped to +- this
  double softmax_scale = 0;  // 0: 1 / sqrt(head_dim)
  int64_t num_experts = 0;
  int64_t num_active_experts = 0;
  bool has_qkv_bias = false;
  bool has_out_bias = false;
  bool has_mlp_bias = false;
  bool has_head_bias = false;
  bool has_final_norm = true;
  bool is_tied = false;  // the head is the embedding

  // By model_type; absent keys take the defaults of the reference's config class. Throws unsupported for
  // other types. `is_tied_above`: a composite config that says tie_word_embeddings itself.
  static DecoderConfig from(const Json& config, bool is_tied_above = false);
};

class CausalDecoder {
 public:
  CausalDecoder() = default;
  CausalDecoder(const DecoderConfig& config, const Weights& w);

  Tensor embed(const Tensor& ids_T) const;  // [T] -> [T, D], scaled, without positions
  // Runs the layers; keys and values go into the caches of `packed`, which are advanced. After the final
  // norm, [T, D].
  // `before_layer` may change the stream in front of layer i (cross-attention between layers).
  using LayerHook = std::function<Tensor(int64_t layer, const Tensor& x_TD)>;
  Tensor forward(Tensor x_TD, const nn::Packed& packed, const LayerHook& before_layer = {}) const;
  // The same for a prompt of one sequence, the last row alone unless `all_rows`. Long prompts run in pieces
  // where masks allow it, each through all layers: what they take besides the cache does not grow with them.
  Tensor prefill(Tensor x_TD, const nn::Packed& packed, bool all_rows,
                 const LayerHook& before_layer = {}) const;
  Tensor logits(const Tensor& x_TD) const;  // [T, D] -> [T, K]
  const DecoderConfig& config() const { return config_; }

 private:
  struct Layer {
    nn::Norm norm1, norm2;
    nn::Norm inner_norm;
    nn::Linear q, k, v, qkv, out;
    std::vector<nn::Norm> q_norms, k_norms;  // one for each head, or one for all
    nn::Mlp mlp;
    nn::Moe moe;
  };
  struct Rotation {
    Tensor cos_TR, sin_TR;
  };
  Layer make_layer(const Weights& w) const;
  Tensor attend(const Layer& layer, int64_t idx, const Tensor& x_TD, const nn::Packed& packed,
                const Rotation& rotation) const;
  Tensor feed_forward(const Layer& layer, const Tensor& x_TD) const;
  // What of the input depends on where its tokens stand.
  struct Entrance {
    Tensor x_TD;
    Rotation rotation;
    Entrance piece(int64_t begin, int64_t count) const;
  };
  Entrance enter(Tensor x_TD, const nn::Packed& packed) const;
  Tensor run_layers(Entrance entrance, const nn::Packed& packed, const LayerHook& before_layer) const;
  Rotation rotation(const nn::Packed& packed, const Tensor& positions_T) const;
  Tensor stretched_angles(const nn::Packed& packed, const Tensor& positions_T) const;

  DecoderConfig config_;
  nn::Embedding embed_, additional_embed_, positions_;
  nn::Linear project_in_, project_out_, head_, additional_head_;
  std::vector<Layer> layers_;
  nn::Norm final_norm_;
  Tensor inverse_frequencies_R_, alibi_slopes_A_;
};

}  // namespace vlm
