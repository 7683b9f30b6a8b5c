#include "train/compose.h"

#include <toml++/toml.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "system/hub_cache.h"
#include "system/system.h"
#include "train/initial_source.h"
#include "weights/writer.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;

constexpr char kTower[] = "vision_tower.", kLanguage[] = "language_model.";
// A plain dialogue that every tokenizer can write; the end of an answer is the language model's own.
constexpr char kTemplate[] =
    "{% for message in messages %}"
    "{% if message.role == 'user' %}User: {% elif message.role == 'assistant' %}Assistant: {% endif %}"
    "{% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

Json read_toml(const fs::path& file) {
  try {
    std::ostringstream text;
    text << toml::json_formatter(toml::parse(read_text(file)));
    return Json::parse(text.str(), file.filename().string());
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::bad_request, "TOML: key = value lines under [tables]", "{}: line {}: {}", file.string(),
         error.source().begin.line, std::string(error.description()));
  }
}

// Asked for every name, it gives shapes back and no memory: what a model consists of.
class NamesAlone final : public TensorSource {
 public:
  std::vector<std::string> names() const override { return {}; }
  bool has(const std::string&) const override { return true; }
  TensorInfo info(const std::string&) const override { return {}; }
  Tensor load(const std::string&) const override { return at::zeros({}); }
  std::string describe() const override { return "names alone"; }
  bool invents_names() const override { return true; }
  bool is_abstract() const override { return true; }
};

// One part as the config names it: a checkpoint with weights, or a config.json to begin from nothing.
struct Part {
  std::string word;
  fs::path folder;
  nlohmann::ordered_json config;
  std::shared_ptr<const TensorSource> source;  // null: fresh
  std::string prefix;                          // of the part's names in `source`

  static Part read(const Json& composition, const char* word, const fs::path& beside);
  void find_prefix(const std::string& first_name);
};

Part Part::read(const Json& composition, const char* word, const fs::path& beside) {
  Json json = composition.at(word);
  Part part;
  part.word = word;
  bool is_fresh = json.has("config");
  if (is_fresh == json.has("checkpoint"))
    fail(ErrorKind::bad_request,
         "checkpoint = \"folder or hub id\", or config = \"folder\" for fresh weights",
         "{}: give either checkpoint or config", json.path());
  part.folder = find_reference(json.at(is_fresh ? "config" : "checkpoint").as<std::string>(), beside);
  part.config = nlohmann::ordered_json::parse(read_text(part.folder / "config.json"));
  if (!is_fresh) part.source = open_weights(part.folder);
  return part;
}

// Where the part begins in the names of its own checkpoint: "vision_model." of CLIP's vision tower.
void Part::find_prefix(const std::string& first_name) {
  if (!source) return;
  for (const std::string& name : source->names())
    if (name == first_name || name.ends_with("." + first_name)) {
      prefix = name.substr(0, name.size() - first_name.size());
      return;
    }
  fail(ErrorKind::bad_checkpoint, "name a checkpoint that holds this part", "{}: no tensor {} for [{}] in {}",
       folder.string(), first_name, word, source->describe());
}

nlohmann::ordered_json tower_config(const Part& vision) {
  std::string type = vision.config.value("model_type", "");
  if (!vision.config.contains("vision_config")) return vision.config;
  nlohmann::ordered_json config = vision.config["vision_config"];
  if (!config.contains("model_type") || !config["model_type"].is_string() || config["model_type"] == "")
    config["model_type"] = type == "qwen2_vl" ? "qwen2_vl_vision" : type + "_vision_model";
  return config;
}

void copy_files(const fs::path& from, const fs::path& to, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (fs::exists(from / name)) fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
}

void write_companions(const Json& composition, const Part& vision, const Part& language, const fs::path& to) {
  copy_files(
      language.folder, to,
      {"tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt",
       "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"});
  copy_files(vision.folder, to, {"preprocessor_config.json"});
  std::string text = composition.find("prompt").get("template", kTemplate);
  if (text.find("<image>") == std::string::npos)
    fail(ErrorKind::bad_request, "write <image> where a picture stands", "prompt.template has no <image>");
  write_text(to / "chat_template.jinja", text);
}

}  // namespace

ComposeResult compose_checkpoint(const fs::path& config_toml, const fs::path& folder, uint64_t seed) {
  Json composition = read_toml(config_toml);
  fs::path beside = fs::absolute(config_toml).parent_path();
  Part vision = Part::read(composition, "vision", beside),
       language = Part::read(composition, "language", beside);
  Json tower = composition.at("vision"), connector = composition.find("connector");
  nlohmann::ordered_json config{{"model_type", "vlm_compose"}, {"architectures", {"VlmComposed"}}};
  config["vision_config"] = tower_config(vision);
  config["vision_layer"] = tower.get<int64_t>("layer", -1);
  if (tower.has("final_norm")) config["vision_final_norm"] = tower.at("final_norm").as<bool>();
  config["vision_first_token"] = tower.get("first_token", false);
  config["connector_config"] = connector.is_null() ? nlohmann::json::object() : connector.raw();
  config["text_config"] =
      language.config.contains("text_config") ? language.config["text_config"] : language.config;
  config["tie_word_embeddings"] = language.config.value("tie_word_embeddings", false);
  composition.get("name", "");

  fs::create_directories(folder);
  write_companions(composition, vision, language, folder);
  if (std::vector<std::string> unread = composition.unread(); !unread.empty())
    fail(ErrorKind::bad_request, "docs/compose.md lists the keys", "{}: unknown key {}",
         config_toml.filename().string(), unread.front());
  write_text(folder / "config.json", config.dump(2) + "\n");

  Checkpoint checkpoint = Checkpoint::open_without_weights(folder);
  checkpoint.source = std::make_shared<NamesAlone>();
  auto fresh = initial_source(seed, checkpoint.config);
  LoadedModel model = bind_model(std::move(checkpoint), {});
  for (const std::string& key : model.checkpoint.config.unread())
    if (key.starts_with("connector_config."))
      fail(ErrorKind::bad_request, "docs/compose.md lists the keys of each connector",
           "{}: unknown key connector{}", config_toml.filename().string(), key.substr(key.find('.')));
  ComposeResult result;
  NamedTensors tensors;
  auto begin_of = [&](const std::string& prefix) {
    for (const Parameter& parameter : model.weights->parameters())
      if (parameter.name.starts_with(prefix)) return parameter.name.substr(prefix.size());
    return std::string();
  };
  vision.find_prefix(begin_of(kTower));
  language.find_prefix(begin_of(kLanguage));
  for (const Parameter& parameter : model.weights->parameters()) {
    const Part* part = parameter.name.starts_with(kTower)      ? &vision
                       : parameter.name.starts_with(kLanguage) ? &language
                                                               : nullptr;
    Shape shape = parameter.value.sizes().vec();
    result.parameters += parameter.value.numel();
    if (!part || !part->source) {
      result.fresh_parameters += parameter.value.numel();
      tensors.emplace_back(parameter.name, fresh->load_shaped(parameter.name, shape));
      continue;
    }
    std::string name = part->prefix + parameter.name.substr(parameter.name.find('.') + 1);
    if (!part->source->has(name) || part->source->info(name).shape != shape)
      fail(ErrorKind::bad_checkpoint,
           "quantised checkpoints cannot be composed; compare its files with the published ones",
           "{}: wanted {} {}, found {}", part->folder.string(), name, shape_text(shape),
           part->source->has(name) ? shape_text(part->source->info(name).shape) : "no such tensor");
    tensors.emplace_back(parameter.name, part->source->load(name));
  }
  write_weights(folder, tensors);
  return result;
}

}  // namespace vlm
