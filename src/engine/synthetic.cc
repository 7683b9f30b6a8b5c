#include "engine/synthetic.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/assets.h"
#include "weights/shapes_source.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Tensors = std::map<std::string, TensorInfo>;

constexpr uint64_t kSeed = 1;

// Every byte is a token, and the words that prompts mark pictures with are the id that the config reserves
// for them.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(std::optional<int64_t> image_id) : image_id_(image_id) {}

  Encoding encode(std::string_view text, bool) const override {
    Encoding encoding;
    while (!text.empty()) {
      size_t length = 1;
      int64_t id = kFirstByte + static_cast<unsigned char>(text.front());
      if (image_id_)
        for (std::string_view mark : kMarks)
          if (text.starts_with(mark)) length = mark.size(), id = *image_id_;
      encoding.ids.push_back(id);
      text.remove_prefix(length);
    }
    encoding.type_ids.assign(encoding.ids.size(), 0);
    return encoding;
  }
  Encoding encode_pair(std::string_view first, std::string_view second, bool special) const override {
    Encoding both = encode(first, special), behind = encode(second, special);
    both.ids.insert(both.ids.end(), behind.ids.begin(), behind.ids.end());
    both.type_ids.resize(both.ids.size(), 1);
    return both;
  }
  std::string decode(std::span<const int64_t> ids, bool) const override {
    std::string text;
    for (int64_t id : ids) text += id_to_token(id);
    return text;
  }
  int64_t vocab_size() const override { return std::max(image_id_.value_or(0) + 1, kFirstByte + 256); }
  std::optional<int64_t> token_to_id(std::string_view token) const override {
    if (image_id_ && std::find(kMarks.begin(), kMarks.end(), token) != kMarks.end()) return image_id_;
    if (token.size() == 1) return kFirstByte + static_cast<unsigned char>(token.front());
    return std::nullopt;
  }
  std::string id_to_token(int64_t id) const override {
    bool is_byte = id >= kFirstByte && id < kFirstByte + 256;
    return is_byte ? std::string(1, static_cast<char>(id - kFirstByte)) : "";
  }
  bool is_special(int64_t) const override { return false; }

 private:
  static constexpr int64_t kFirstByte = 3;  // behind what is usually padding, begin and end
  static constexpr std::array<std::string_view, 3> kMarks{"<image>", "<|image_pad|>", "<image_placeholder>"};
  std::optional<int64_t> image_id_;
};

json llama_config(int64_t width, int64_t inner, int64_t layers, int64_t heads, int64_t key_heads) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", width},
          {"intermediate_size", inner},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"num_key_value_heads", key_heads},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-5},
          {"vocab_size", 32000},
          {"eos_token_id", 2}};
}

struct LanguageModel {
  const char* name;
  json config;
};
const std::vector<LanguageModel>& language_models() {
  static const std::vector<LanguageModel> models{
      {"tinyllama-1.1b", llama_config(2048, 5632, 22, 32, 4)},
      {"llama-7b", llama_config(4096, 11008, 32, 32, 32)},
  };
  return models;
}

Tensors llama_tensors(const json& config) {
  int64_t width = config["hidden_size"], inner = config["intermediate_size"], vocab = config["vocab_size"];
  int64_t layers = config["num_hidden_layers"], heads = config["num_attention_heads"];
  int64_t key_width = width / heads * config["num_key_value_heads"].get<int64_t>();
  Tensors tensors;
  auto add = [&](const std::string& name, const Shape& shape) {
    tensors[name + ".weight"] = {shape, at::kBFloat16, 2 * c10::multiply_integers(shape)};
  };
  add("model.embed_tokens", {vocab, width});
  add("model.norm", {width});
  add("lm_head", {vocab, width});
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::string at = fmt::format("model.layers.{}.", layer);
    add(at + "input_layernorm", {width});
    add(at + "post_attention_layernorm", {width});
    add(at + "self_attn.q_proj", {width, width});
    add(at + "self_attn.k_proj", {key_width, width});
    add(at + "self_attn.v_proj", {key_width, width});
    add(at + "self_attn.o_proj", {width, width});
    add(at + "mlp.gate_proj", {inner, width});
    add(at + "mlp.up_proj", {inner, width});
    add(at + "mlp.down_proj", {width, inner});
  }
  return tensors;
}

// The number behind "layers." in a name of the language model, or -1.
int64_t language_layer(const std::string& name) {
  for (const char* other : {"vision", "visual", "tower", "vpm"})
    if (name.find(other) != std::string::npos) return -1;
  constexpr std::string_view kWord = "layers.";
  size_t at = name.find(kWord);
  if (at == std::string::npos) return -1;
  return std::strtoll(name.c_str() + at + kWord.size(), nullptr, 10);
}

SyntheticCheckpoint finish(std::string name, json config, Tensors tensors, int64_t layers) {
  SyntheticCheckpoint made;
  for (const auto& [tensor, info] : tensors)
    made.all_layers = std::max(made.all_layers, language_layer(tensor) + 1);
  if (layers > 0 && layers < made.all_layers) {
    std::erase_if(tensors, [&](const auto& item) { return language_layer(item.first) >= layers; });
    json* text = &config;
    for (const char* key : {"text_config", "language_config", "llm_config"})
      if (config.contains(key)) text = &config[key];
    (*text)["num_hidden_layers"] = layers;
  }
  std::optional<int64_t> image_id;
  for (const char* key : {"image_token_index", "image_token_id"})
    if (config.contains(key)) image_id = config[key].get<int64_t>();
  made.source = std::make_shared<SyntheticSource>(std::move(tensors), kSeed);
  made.checkpoint.name = std::move(name);
  made.checkpoint.config = Json::wrap(std::move(config), "config.json");
  made.checkpoint.tokenizer.tokenizer = std::make_shared<ByteTokenizer>(image_id);
  made.checkpoint.source = made.source;
  return made;
}

SyntheticCheckpoint from_manifest(const fs::path& path, int64_t layers) {
  Checkpoint described = Checkpoint::from_manifest(path);
  Tensors tensors;
  for (const std::string& name : described.source->names()) tensors[name] = described.source->info(name);
  SyntheticCheckpoint made = finish(described.name, described.config.raw(), std::move(tensors), layers);
  made.checkpoint.preprocessor = described.preprocessor;
  made.checkpoint.generation = described.generation;
  return made;
}

fs::path manifests_folder() {
  for (const fs::path& place : shared_places("manifests", ""))
    if (fs::is_directory(place)) return place;
  fail(ErrorKind::not_found, "install vlm whole, or set VLM_ASSETS to the folder that holds manifests/",
       "the manifests of published checkpoints were not found");
}

// The smallest in the hub's own layout and not packed.
std::optional<fs::path> smallest_of(const fs::path& folder) {
  std::optional<fs::path> best;
  int64_t fewest = 0;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    Json manifest = read_manifest(file), config = manifest.at("config");
    int64_t count = manifest.get<int64_t>("parameters", 0);
    if (config.has("mm_vision_tower") || config.has("quantization_config") || (best && count >= fewest))
      continue;
    best = file, fewest = count;
  }
  return best;
}

}  // namespace

std::vector<std::string> synthetic_language_models() {
  std::vector<std::string> names;
  for (const LanguageModel& model : language_models()) names.push_back(model.name);
  return names;
}

SyntheticCheckpoint synthetic_checkpoint(const std::string& shapes, int64_t layers) {
  for (const LanguageModel& model : language_models())
    if (shapes == model.name) return finish(shapes, model.config, llama_tensors(model.config), layers);
  fs::path folder = manifests_folder();
  std::vector<std::string> known = synthetic_language_models();
  for (const auto& system : fs::directory_iterator(folder)) {
    if (!system.is_directory()) continue;
    std::string slug = system.path().filename().string();
    known.push_back(slug);
    if (shapes == slug)
      if (auto smallest = smallest_of(system.path())) return from_manifest(*smallest, layers);
    for (const auto& file : fs::directory_iterator(system)) {
      known.push_back(slug + "/" + file.path().stem().stem().string());
      if (shapes == known.back()) return from_manifest(file.path(), layers);
    }
  }
  std::string near = nearest_word(shapes, known);
  fail(ErrorKind::not_found,
       near.empty() ? "give a system of `vlm list`, or one of: " +
                          fmt::format("{}", fmt::join(synthetic_language_models(), ", "))
                    : "did you mean " + near + "?",
       "no shapes are known of \"{}\"", shapes);
}

}  // namespace vlm
