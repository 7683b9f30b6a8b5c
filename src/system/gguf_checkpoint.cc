#include "system/gguf_checkpoint.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/error.h"
#include "text/gguf_tokenizer.h"
#include "weights/gguf_names.h"
#include "weights/merged_source.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kTower[] = "mmproj";

std::vector<fs::path> gguf_files(const fs::path& folder_or_file) {
  std::error_code ignored;
  if (!fs::is_directory(folder_or_file, ignored)) return {folder_or_file};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder_or_file, ignored))
    if (entry.path().extension() == ".gguf") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// The values of one architecture's keys: "llama.block_count".
struct Keys {
  const GgufFile& file;
  std::string prefix;

  bool has(const std::string& key) const { return file.metadata().has(prefix + key); }
  int64_t integer(const std::string& key) const { return file.metadata().get_int(prefix + key); }
  int64_t integer(const std::string& key, int64_t fallback) const {
    return file.metadata().get_int(prefix + key, fallback);
  }
  double real(const std::string& key, double fallback) const {
    return file.metadata().get_float(prefix + key, fallback);
  }
  std::string text(const std::string& key, const char* fallback) const {
    return file.metadata().get_string(prefix + key, std::string(fallback));
  }
};

// Llama 3's stretched wave lengths are stored as the factors that come out, not as what they come from. All
// published ones are these; others are refused rather than read wrongly.
json llama3_scaling(const GgufFile& file, double theta, int64_t head_dim) {
  constexpr double kLow = 1, kHigh = 4, kContext = 8192;
  Tensor stored = file.load("rope_freqs.weight").to(at::kFloat).contiguous();
  if (stored.numel() != head_dim / 2)
    fail(ErrorKind::bad_checkpoint, "use the original checkpoint",
         "{}: rope_freqs.weight has {} values, not {}", file.describe(), stored.numel(), head_dim / 2);
  double factor = stored.max().item<double>();
  for (int64_t idx = 0; idx < stored.numel(); ++idx) {
    double wave =
        2 * std::numbers::pi * std::pow(theta, 2 * static_cast<double>(idx) / static_cast<double>(head_dim));
    double smooth = std::clamp((kContext / wave - kLow) / (kHigh - kLow), 0.0, 1.0);
    double wanted = 1 / ((1 - smooth) / factor + smooth);
    if (std::abs(stored[idx].item<double>() - wanted) > 1e-3 * wanted)
      fail(ErrorKind::unsupported, "use the original checkpoint, whose config.json has rope_scaling",
           "{}: rope_freqs.weight are no factors of Llama 3", file.describe());
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLow},
          {"high_freq_factor", kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(kContext)}};
}

void add_rope(const Keys& keys, json& config) {
  config["rope_theta"] = keys.real("rope.freq_base", 10000);
  std::string scaling = keys.text("rope.scaling.type", "none");
  if (scaling == "linear")
    config["rope_scaling"] = {{"type", "linear"}, {"factor", keys.real("rope.scaling.factor", 1)}};
  else if (scaling != "none")
    fail(ErrorKind::unsupported, "known: none, linear", "{}: {}rope.scaling.type = \"{}\"",
         keys.file.describe(), keys.prefix, scaling);
  int64_t head_dim = config["head_dim"];
  if (keys.file.has("rope_freqs.weight"))
    config["rope_scaling"] = llama3_scaling(keys.file, config["rope_theta"], head_dim);
}

// The share of a head's width that turns.
double rotary_share(const Keys& keys, const json& config) {
  auto head_dim = config["head_dim"].get<int64_t>();
  return static_cast<double>(keys.integer("rope.dimension_count", head_dim)) / static_cast<double>(head_dim);
}

void add_own_keys(const std::string& architecture, const Keys& keys, json& config) {
  const GgufFile& file = keys.file;
  auto set = [&](const char* type, const char* name) {
    config["model_type"] = type;
    config["architectures"] = {name};
  };
  if (architecture == "llama" && keys.integer("expert_count", 0) > 0) {
    set("mixtral", "MixtralForCausalLM");
    config["num_local_experts"] = keys.integer("expert_count");
    config["num_experts_per_tok"] = keys.integer("expert_used_count");
  } else if (architecture == "llama") {
    set("llama", "LlamaForCausalLM");
    config["attention_bias"] = file.has("blk.0.attn_output.bias");
  } else if (architecture == "qwen2") {
    set("qwen2", "Qwen2ForCausalLM");
  } else if (architecture == "gemma") {
    set("gemma", "GemmaForCausalLM");
  } else if (architecture == "phi2") {
    set("phi", "PhiForCausalLM");
    config["partial_rotary_factor"] = rotary_share(keys, config);
  } else if (architecture == "stablelm") {
    set("stablelm", "StableLmForCausalLM");
    config["partial_rotary_factor"] = rotary_share(keys, config);
    config["use_qkv_bias"] = file.has("blk.0.attn_q.bias");
    config["qk_layernorm"] = file.has("blk.0.attn_q_norm.weight");
    config["use_parallel_residual"] = !file.has("blk.0.ffn_norm.weight");
  } else if (architecture == "gptneox") {
    set("gpt_neox", "GPTNeoXForCausalLM");
    config["rotary_pct"] = rotary_share(keys, config);
    config["use_parallel_residual"] = file.metadata().get_bool(keys.prefix + "use_parallel_residual", true);
    config["attention_bias"] = file.has("blk.0.attn_output.bias");
  }
  if ((architecture == "llama" || architecture == "qwen2" || architecture == "gemma") &&
      rotary_share(keys, config) != 1)
    fail(ErrorKind::unsupported, "use the original checkpoint",
         "{}: {}rope.dimension_count is not a head's width", file.describe(), keys.prefix);
}

json config_of(const GgufFile& file) {
  std::string architecture = file.metadata().get_string("general.architecture");
  Keys keys{file, architecture + "."};
  int64_t heads = keys.integer("attention.head_count"), width = keys.integer("embedding_length");
  if (heads < 1 || width < heads)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: {} heads at width {}",
         file.describe(), heads, width);
  json config{{"hidden_size", width},
              {"intermediate_size", keys.integer("feed_forward_length")},
              {"num_hidden_layers", keys.integer("block_count")},
              {"num_attention_heads", heads},
              {"num_key_value_heads", keys.integer("attention.head_count_kv", heads)},
              {"head_dim", keys.integer("attention.key_length", width / heads)},
              {"max_position_embeddings", keys.integer("context_length")},
              {"vocab_size", file.info("token_embd.weight").shape.at(0)},
              {"tie_word_embeddings", !file.has("output.weight")},
              {"sliding_window", nullptr}};
  if (config["head_dim"] < 1)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: heads without width",
         file.describe());
  for (const char* kind : {"rms_", ""})
    if (std::string key = fmt::format("attention.layer_norm_{}epsilon", kind); keys.has(key))
      config[*kind ? "rms_norm_eps" : "layer_norm_eps"] = keys.real(key, 0);
  add_rope(keys, config);
  add_own_keys(architecture, keys, config);
  return config;
}

LoadedTokenizer tokenizer_of(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  const std::string prefix = "tokenizer.ggml.";
  if (!metadata.has(prefix + "model")) return {};
  auto id = [&](const char* name) -> std::optional<int64_t> {
    std::string key = prefix + name + "_token_id";
    return metadata.has(key) ? std::optional(metadata.get_int(key)) : std::nullopt;
  };
  auto flag = [&](const char* name) -> std::optional<bool> {
    return metadata.has(prefix + name) ? std::optional(metadata.get_bool(prefix + name)) : std::nullopt;
  };
  GgufTokenizer values;
  values.model = metadata.get_string(prefix + "model");
  values.pre = metadata.get_string(prefix + "pre", std::string());
  values.tokens = metadata.get_strings(prefix + "tokens");
  if (metadata.has(prefix + "scores")) values.scores = metadata.get_floats(prefix + "scores");
  if (metadata.has(prefix + "token_type"))
    for (int64_t type : metadata.get_ints(prefix + "token_type"))
      values.token_types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, 0, 7)));
  if (metadata.has(prefix + "merges")) values.merges = metadata.get_strings(prefix + "merges");
  values.bos_id = id("bos"), values.eos_id = id("eos"), values.unk_id = id("unknown");
  values.cls_id = id("cls"), values.sep_id = id("seperator");  // spelt so in the files
  values.add_bos = flag("add_bos_token"), values.add_eos = flag("add_eos_token");
  values.add_space_prefix = flag("add_space_prefix").value_or(true);
  LoadedTokenizer loaded;
  loaded.tokenizer = tokenizer_from_gguf(values);
  TokenizerInfo& info = loaded.info;
  info.bos_id = values.bos_id, info.eos_id = values.eos_id, info.unk_id = values.unk_id,
  info.pad_id = id("padding");
  auto word = [&](std::optional<int64_t> known) {
    return known ? loaded.tokenizer->id_to_token(*known) : "";
  };
  info.bos_token = word(info.bos_id), info.eos_token = word(info.eos_id), info.unk_token = word(info.unk_id),
  info.pad_token = word(info.pad_id);
  return loaded;
}

Json wrapped(json value, const GgufFile& file) {
  return Json::wrap(std::move(value), file.describe());
}

Checkpoint tower_of(const std::shared_ptr<const GgufFile>& file) {
  const GgufMetadata& metadata = file->metadata();
  Keys keys{*file, "clip.vision."};
  std::string projector = metadata.get_string("clip.projector_type", std::string("mlp"));
  if (projector != "mlp")
    fail(ErrorKind::unsupported, "use the original checkpoint; of GGUF files LLaVA's are read",
         "{}: clip.projector_type = \"{}\"", file->describe(), projector);
  auto flag = [&](const char* key) { return metadata.get_bool(key, false); };
  int64_t size = keys.integer("image_size");
  Checkpoint tower;
  tower.name = kTower;
  tower.config = wrapped({{"model_type", "clip_vision_model"},
                          {"hidden_size", keys.integer("embedding_length")},
                          {"intermediate_size", keys.integer("feed_forward_length")},
                          {"num_hidden_layers", keys.integer("block_count")},
                          {"num_attention_heads", keys.integer("attention.head_count")},
                          {"layer_norm_eps", keys.real("attention.layer_norm_epsilon", 1e-5)},
                          {"image_size", size},
                          {"patch_size", keys.integer("patch_size")},
                          {"hidden_act", flag("clip.use_silu")   ? "silu"
                                         : flag("clip.use_gelu") ? "gelu"
                                                                 : "quick_gelu"}},
                         *file);
  tower.preprocessor = wrapped({{"do_resize", true},
                                {"size", {{"shortest_edge", size}}},
                                {"resample", 3},
                                {"do_center_crop", true},
                                {"crop_size", {{"height", size}, {"width", size}}},
                                {"do_normalize", true},
                                {"image_mean", metadata.get_floats(keys.prefix + "image_mean")},
                                {"image_std", metadata.get_floats(keys.prefix + "image_std")}},
                               *file);
  tower.source = published_gguf(file);
  return tower;
}

// Mistral's files call themselves llama; their name tells.
bool is_mistral(const GgufFile& file) {
  std::string name = file.metadata().get_string("general.name", std::string()) + file.describe();
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name.find("mistral") != std::string::npos || name.find("bakllava") != std::string::npos;
}

// As LLaVA's authors write config.json. The tower's last stored layer is the one whose output is used.
void add_llava_keys(const GgufFile& text, const GgufFile& tower, const TensorSource& tensors, json& config) {
  std::string type = config["model_type"];
  if (type != "llama" && type != "qwen2")
    fail(ErrorKind::unsupported, "use the original checkpoint",
         "{}: a language model of kind \"{}\" beside a tower", text.describe(), type);
  bool mistral = type == "llama" && is_mistral(text);
  config["model_type"] = mistral ? "llava_mistral" : "llava_" + type;
  config["architectures"] = {mistral           ? "LlavaMistralForCausalLM"
                             : type == "llama" ? "LlavaLlamaForCausalLM"
                                               : "LlavaQwenForCausalLM"};
  config["mm_vision_tower"] = kTower;
  config["mm_projector_type"] = tensors.has("model.mm_projector.2.weight") ? "mlp2x_gelu" : "linear";
  config["mm_vision_select_layer"] = -1;
  config["image_aspect_ratio"] = "pad";
  if (!tensors.has("model.image_newline")) return;
  config["image_aspect_ratio"] = "anyres";
  config["mm_patch_merge_type"] =
      tower.metadata().get_string("clip.vision.mm_patch_merge_type", "spatial_unpad");
  const std::vector<int64_t>& sides = tower.metadata().get_ints("clip.vision.image_grid_pinpoints");
  config["image_grid_pinpoints"] = json::array();
  for (size_t at = 0; at + 1 < sides.size(); at += 2)  // width and height, as in the authors' files
    config["image_grid_pinpoints"].push_back({sides[at], sides[at + 1]});
}

}  // namespace

bool is_gguf_checkpoint(const fs::path& folder_or_file) {
  std::error_code ignored;
  if (!fs::is_directory(folder_or_file, ignored))
    return folder_or_file.extension() == ".gguf" && fs::exists(folder_or_file, ignored);
  for (const auto& entry : fs::directory_iterator(folder_or_file, ignored))
    for (const char* ending : {".safetensors", ".bin", ".pth", ".pt"})
      if (entry.path().extension() == ending) return false;
  return !gguf_files(folder_or_file).empty();
}

void need_other_than_gguf(const fs::path& folder_or_file) {
  if (is_gguf_checkpoint(folder_or_file))
    fail(ErrorKind::unsupported, "start from the original checkpoint", "{}: GGUF files are read, not written",
         folder_or_file.string());
}

Checkpoint open_gguf_checkpoint(const fs::path& folder_or_file) {
  std::shared_ptr<const GgufFile> text, tower;
  for (const fs::path& path : gguf_files(folder_or_file)) {
    auto file = std::make_shared<const GgufFile>(FileBytes::map(path));
    if (file->metadata().get_int("split.count", 1) > 1)
      fail(ErrorKind::unsupported, "join the parts: llama-gguf-split --merge", "{}: one part of several",
           path.string());
    bool is_tower = file->metadata().get_string("general.architecture") == "clip";
    std::shared_ptr<const GgufFile>& place = is_tower ? tower : text;
    if (place)
      fail(ErrorKind::bad_request, "name one of the files instead of the folder", "{}: {} and {}",
           folder_or_file.string(), place->describe(), file->describe());
    place = std::move(file);
  }
  if (!text)
    fail(ErrorKind::bad_request, "put the language model's file into the same folder, and name the folder",
         "{}: a vision tower alone", folder_or_file.string());
  Checkpoint checkpoint;
  checkpoint.folder = folder_or_file;
  checkpoint.name = folder_or_file.stem().string();
  checkpoint.source = published_gguf(text);
  checkpoint.tokenizer = tokenizer_of(*text);
  if (text->metadata().has("tokenizer.chat_template"))
    checkpoint.chat_template = ChatTemplate::compile(text->metadata().get_string("tokenizer.chat_template"));
  json config = config_of(*text);
  if (tower) {
    Checkpoint vision = tower_of(tower);
    add_llava_keys(*text, *tower, *vision.source, config);
    checkpoint.source = merged_source(checkpoint.source, vision.source, "model.", "model.");
    checkpoint.vision_tower = std::make_shared<Checkpoint>(std::move(vision));
  }
  json ends = json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
    if (text->metadata().has(key)) ends.push_back(text->metadata().get_int(key));
  if (!ends.empty()) checkpoint.generation = wrapped({{"eos_token_id", std::move(ends)}}, *text);
  checkpoint.config = wrapped(std::move(config), *text);
  return checkpoint;
}

}  // namespace vlm
