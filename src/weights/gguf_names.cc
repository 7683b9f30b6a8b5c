#include "weights/gguf_names.h"

#include <optional>
#include <span>

#include "base/error.h"

namespace vlm {

namespace {

struct Name {
  std::string_view gguf, published;
};

constexpr Name kLlamaLayer[] = {{"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
                                {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
                                {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
                                {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
                                {"ffn_down", "mlp.down_proj"},    {"ffn_gate_inp", "block_sparse_moe.gate"}};
constexpr Name kPhiLayer[] = {
    {"attn_norm", "input_layernorm"}, {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.dense"},  {"ffn_up", "mlp.fc1"},
    {"ffn_down", "mlp.fc2"},          {"attn_qkv", "self_attn.q_proj k v"}};
constexpr Name kNeoxLayer[] = {
    {"attn_norm", "input_layernorm"},          {"ffn_norm", "post_attention_layernorm"},
    {"attn_qkv", "attention.query_key_value"}, {"attn_output", "attention.dense"},
    {"ffn_up", "mlp.dense_h_to_4h"},           {"ffn_down", "mlp.dense_4h_to_h"}};
constexpr Name kClipLayer[] = {{"ln1", "layer_norm1"},         {"ln2", "layer_norm2"},
                               {"attn_q", "self_attn.q_proj"}, {"attn_k", "self_attn.k_proj"},
                               {"attn_v", "self_attn.v_proj"}, {"attn_out", "self_attn.out_proj"},
                               {"ffn_up", "mlp.fc1"},          {"ffn_down", "mlp.fc2"}};
constexpr Name kLlamaTop[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr Name kPhiTop[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.final_layernorm"}, {"output", "lm_head"}};
constexpr Name kNeoxTop[] = {{"token_embd", "gpt_neox.embed_in"},
                             {"output_norm", "gpt_neox.final_layer_norm"},
                             {"output", "embed_out"}};
#define VLM_TOWER "model.vision_tower.vision_tower.vision_model."
constexpr Name kClipTop[] = {{"v.class_embd", VLM_TOWER "embeddings.class_embedding"},
                             {"v.patch_embd", VLM_TOWER "embeddings.patch_embedding"},
                             {"v.position_embd", VLM_TOWER "embeddings.position_embedding"},
                             {"v.pre_ln", VLM_TOWER "pre_layrnorm"},
                             {"v.post_ln", VLM_TOWER "post_layernorm"},
                             {"mm.0", "model.mm_projector.0"},
                             {"mm.2", "model.mm_projector.2"},
                             {"model.image_newline", "model.image_newline"}};

struct Layout {
  std::string_view architecture;
  std::span<const Name> top, layer;
  std::string_view blocks, layers;  // "blk." and what stands for it
  bool turns_pairs = false;         // rotary pairs side by side, where transformers has halves
  bool adds_one = false;            // norms are stored as they multiply
};
constexpr Layout kLayouts[] = {
    {"llama", kLlamaTop, kLlamaLayer, "blk.", "model.layers.", true},
    {"qwen2", kLlamaTop, kLlamaLayer, "blk.", "model.layers."},
    {"gemma", kLlamaTop, kLlamaLayer, "blk.", "model.layers.", false, true},
    {"stablelm", kLlamaTop, kLlamaLayer, "blk.", "model.layers."},
    {"phi2", kPhiTop, kPhiLayer, "blk.", "model.layers."},
    {"gptneox", kNeoxTop, kNeoxLayer, "blk.", "gpt_neox.layers."},
    {"clip", kClipTop, kClipLayer, "v.blk.", VLM_TOWER "encoder.layers."},
};
#undef VLM_TOWER

// What was done to a tensor's values when it was converted, and is undone here.
enum class Change { none, paired_rows, one_added, thirds, slice, absent };

struct Stored {
  std::string name;  // in the file
  TensorInfo info;
  Change change = Change::none;
  int64_t heads = 1;  // of paired rows and thirds
  int64_t idx = 0;    // of a slice
  double value = 0;   // of what is absent
};

class PublishedGguf final : public TensorSource {
 public:
  explicit PublishedGguf(std::shared_ptr<const GgufFile> file) : file_(std::move(file)), layout_(layout()) {
    for (const std::string& name : file_->names()) place(name);
    if (layout_.architecture == "clip") add_unused_norm();
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> sorted;
    for (const auto& item : tensors_) sorted.push_back(item.first);
    return sorted;
  }
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override { return find(name).info; }
  std::string describe() const override { return file_->describe(); }

  Tensor load(const std::string& name) const override {
    const Stored& stored = find(name);
    if (stored.change == Change::absent) return at::full(stored.info.shape, stored.value);
    Tensor value = file_->load(stored.name);
    switch (stored.change) {
      case Change::paired_rows: {  // (head pair half) ... <- (head half pair) ...
        Shape rows{stored.heads, value.size(0) / stored.heads / 2, 2};
        for (int64_t axis = 1; axis < value.dim(); ++axis) rows.push_back(value.size(axis));
        return value.reshape(rows).transpose(1, 2).reshape(stored.info.shape);
      }
      case Change::one_added:
        return value.to(at::kFloat) - 1;
      case Change::thirds: {  // (three head width) ... <- (head three width) ...
        Shape rows{3, stored.heads, value.size(0) / stored.heads / 3};
        for (int64_t axis = 1; axis < value.dim(); ++axis) rows.push_back(value.size(axis));
        return value.reshape(rows).transpose(0, 1).reshape(stored.info.shape);
      }
      case Change::slice: {
        int64_t rows = stored.info.shape[0];
        Tensor parts =
            value.dim() > static_cast<int64_t>(stored.info.shape.size()) ? value.flatten(0, 1) : value;
        return parts.slice(0, stored.idx * rows, (stored.idx + 1) * rows);
      }
      default:
        return value;
    }
  }

 private:
  const Layout& layout() const {
    const std::string& architecture = file_->metadata().get_string("general.architecture");
    std::string known;
    for (const Layout& layout : kLayouts) {
      if (layout.architecture == architecture) return layout;
      known += (known.empty() ? "" : ", ") + std::string(layout.architecture);
    }
    fail(ErrorKind::unsupported, "use the original checkpoint; GGUF files are read of " + known,
         "{}: the tensor names of architecture \"{}\" are not known", describe(), architecture);
  }

  const Stored& find(const std::string& name) const {
    auto found = tensors_.find(name);
    if (found == tensors_.end())
      fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", describe(), name);
    return found->second;
  }

  int64_t heads(const char* key) const {
    std::string prefix = std::string(layout_.architecture) + ".attention.";
    const GgufMetadata& metadata = file_->metadata();
    return metadata.get_int(prefix + key, metadata.get_int(prefix + "head_count"));
  }

  void add(const std::string& published, Stored stored) { tensors_.emplace(published, std::move(stored)); }

  [[noreturn]] void fail_place(const std::string& name, const char* why) const {
    fail(ErrorKind::bad_checkpoint, "use the original checkpoint", "{}: {} {}", describe(), name, why);
  }

  void needs_rows_of(int64_t unit, const Stored& stored) const {
    if (unit < 1 || stored.info.shape.empty() || stored.info.shape[0] % unit != 0)
      fail_place(stored.name, "does not divide into its heads");
  }

  void place(const std::string& name) {
    if (name == "rope_freqs.weight") return;  // system/gguf_checkpoint.cc checks it
    Stored stored{name, file_->info(name)};
    size_t end = name.ends_with(".weight") || name.ends_with(".bias") ? name.rfind('.') : name.size();
    std::string stem = name.substr(0, end), ending = name.substr(end);
    if (stem.starts_with(layout_.blocks)) return place_in_layer(stem, ending, std::move(stored));
    for (const Name& known : layout_.top)
      if (known.gguf == stem) {
        if (layout_.adds_one && stem.ends_with("_norm")) stored.change = Change::one_added;
        return add(std::string(known.published) + ending, std::move(stored));
      }
    fail_place(name, "is no tensor of this architecture");
  }

  void place_in_layer(const std::string& stem, const std::string& ending, Stored stored) {
    size_t begin = layout_.blocks.size(), dot = stem.find('.', begin);
    std::string number = stem.substr(begin, dot - begin), own = dot == stem.npos ? "" : stem.substr(dot + 1);
    std::string layer = std::string(layout_.layers) + number + ".";
    if (place_experts(layer, own, stored) || place_head_norms(layer, own, stored)) return;
    for (const Name& known : layout_.layer) {
      if (known.gguf != own) continue;
      if (own == "attn_qkv" && layout_.architecture == "phi2") return place_thirds(layer, ending, stored);
      if (own == "attn_qkv") stored.change = Change::thirds, stored.heads = heads("head_count");
      if (layout_.turns_pairs && (own == "attn_q" || own == "attn_k"))
        stored.change = Change::paired_rows,
        stored.heads = heads(own == "attn_k" ? "head_count_kv" : "head_count");
      if (layout_.adds_one && own.ends_with("_norm")) stored.change = Change::one_added;
      if (stored.change == Change::paired_rows) needs_rows_of(stored.heads * 2, stored);
      if (stored.change == Change::thirds) needs_rows_of(stored.heads * 3, stored);
      std::string_view published = known.published;
      // The first converters of LLaVA's towers called the two layers of the MLP the other way round.
      if (own.starts_with("ffn_") && layout_.architecture == "clip") published = tower_mlp(number, own);
      return add(layer + std::string(published) + ending, std::move(stored));
    }
    fail_place(stored.name, "is no tensor of this architecture");
  }

  std::string_view tower_mlp(const std::string& number, const std::string& own) const {
    int64_t inner = file_->metadata().get_int("clip.vision.feed_forward_length");
    std::string matrix = std::string(layout_.blocks) + number + "." + own + ".weight";
    if (!file_->has(matrix) || file_->info(matrix).shape.empty()) fail_place(matrix, "is missing");
    return file_->info(matrix).shape[0] == inner ? "mlp.fc1" : "mlp.fc2";
  }

  // Experts lie in one tensor of three axes; before April 2024 each in a matrix of its own.
  bool place_experts(const std::string& layer, const std::string& own, const Stored& stored) {
    constexpr Name kMatrices[] = {{"ffn_gate", "w1"}, {"ffn_down", "w2"}, {"ffn_up", "w3"}};
    for (const Name& matrix : kMatrices) {
      std::string published(matrix.published);
      if (own == std::string(matrix.gguf) + "_exps") {
        if (stored.info.shape.size() != 3) fail_place(stored.name, "does not have three axes");
        for (int64_t idx = 0; idx < stored.info.shape[0]; ++idx) {
          Stored one = stored;
          one.change = Change::slice, one.idx = idx;
          one.info.shape = {stored.info.shape[1], stored.info.shape[2]};
          one.info.file_bytes /= stored.info.shape[0];
          add(fmt::format("{}block_sparse_moe.experts.{}.{}.weight", layer, idx, published), std::move(one));
        }
        return true;
      }
      if (own.starts_with(std::string(matrix.gguf) + ".")) {
        add(layer + "block_sparse_moe.experts." + own.substr(matrix.gguf.size() + 1) + "." + published +
                ".weight",
            stored);
        return true;
      }
    }
    return false;
  }

  // StableLM 2 12B: a norm for each head, stacked.
  bool place_head_norms(const std::string& layer, const std::string& own, const Stored& stored) {
    if (own != "attn_q_norm" && own != "attn_k_norm") return false;
    if (stored.info.shape.size() != 2) fail_place(stored.name, "does not have two axes");
    for (int64_t idx = 0; idx < stored.info.shape[0]; ++idx) {
      Stored one = stored;
      one.change = Change::slice, one.idx = idx;
      one.info.shape = {stored.info.shape[1]};
      one.info.file_bytes /= stored.info.shape[0];
      add(fmt::format("{}self_attn.{}_layernorm.norms.{}.weight", layer, own[5], idx), std::move(one));
    }
    return true;
  }

  void place_thirds(const std::string& layer, const std::string& ending, const Stored& stored) {
    needs_rows_of(3, stored);
    for (int64_t idx = 0; idx < 3; ++idx) {
      Stored one = stored;
      one.change = Change::slice, one.idx = idx;
      one.info.shape[0] /= 3, one.info.file_bytes /= 3;
      add(layer + "self_attn." + "qkv"[idx] + "_proj" + ending, std::move(one));
    }
  }

  // The converter leaves out what LLaVA never runs: the tower's last layer, and this norm behind it.
  void add_unused_norm() {
    int64_t width = file_->metadata().get_int("clip.vision.embedding_length");
    if (width < 1 || width > (1 << 20)) fail_place("clip.vision.embedding_length", "is no width");
    for (const char* ending : {".weight", ".bias"}) {
      std::string name = std::string(kClipTop[4].published) + ending;
      Stored absent;
      absent.info.shape = {width};
      absent.change = Change::absent;
      absent.value = ending == std::string_view(".weight") ? 1 : 0;
      if (!has(name)) add(name, std::move(absent));
    }
  }

  std::shared_ptr<const GgufFile> file_;
  const Layout& layout_;
  std::map<std::string, Stored> tensors_;
};

}  // namespace

std::shared_ptr<const TensorSource> published_gguf(std::shared_ptr<const GgufFile> file) {
  return std::make_shared<PublishedGguf>(std::move(file));
}

}  // namespace vlm
