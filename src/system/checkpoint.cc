#include "system/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "system/gguf_checkpoint.h"
#include "system/hub_cache.h"
#include "weights/merged_source.h"
#include "weights/packed_source.h"
#include "weights/shapes_source.h"

namespace vlm {

namespace {

Json read_if_there(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? Json::read_file(path) : Json();
}

void add_ids(const Json& value, std::vector<int64_t>& ids) {
  if (value.is_null()) return;
  std::vector<int64_t> more =
      value.is_array() ? value.as<std::vector<int64_t>>() : std::vector<int64_t>{value.as<int64_t>()};
  for (int64_t id : more)
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

// How the weights were packed; GPTQ's first tools wrote that into a file of its own.
Json packing_of(const Json& config, const std::filesystem::path& folder) {
  Json packing = config.find("quantization_config");
  return packing.is_null() && !folder.empty() ? read_if_there(folder / "quantize_config.json") : packing;
}

// LLaVA's own layout names its tower; 1.5 publishes it apart, 1.6 stores the tuned one under this prefix.
constexpr char kStoredTower[] = "model.vision_tower.vision_tower.";

bool stores_tower(const TensorSource& source) {
  std::vector<std::string> names = source.names();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.starts_with(kStoredTower); });
}

bool has_tokenizer(const std::filesystem::path& folder) {
  for (const char* file : {"tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
                           "vocab.json", "vocab.txt"})
    if (std::filesystem::exists(folder / file)) return true;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".tiktoken") return true;
  return false;
}

}  // namespace

Checkpoint Checkpoint::open_without_weights(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder))
    fail(ErrorKind::not_found, "give a folder with config.json and weights; `vlm pull` fetches one",
         "{}: no such folder", folder.string());
  if (!std::filesystem::is_directory(folder))
    fail(ErrorKind::bad_request, "give the folder of a checkpoint, not one of its files",
         "{} is not a folder", folder.string());
  std::filesystem::path config = folder / "config.json";
  if (!std::filesystem::exists(config)) config = folder / "open_clip_config.json";
  if (!std::filesystem::exists(config))
    fail(ErrorKind::not_found, "a checkpoint is a folder with config.json, weights and tokenizer files",
         "{}: no config.json (or open_clip_config.json) in this folder", folder.string());
  Checkpoint checkpoint;
  checkpoint.folder = folder;
  checkpoint.name = hub_id_of(folder);
  checkpoint.config = Json::read_file(config);
  checkpoint.preprocessor = read_if_there(folder / "preprocessor_config.json");
  checkpoint.generation = read_if_there(folder / "generation_config.json");
  if (has_tokenizer(folder)) checkpoint.tokenizer = load_tokenizer(folder);
  checkpoint.chat_template = load_chat_template(folder);
  return checkpoint;
}

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  if (is_gguf_checkpoint(folder)) return open_gguf_checkpoint(folder);
  Checkpoint checkpoint = open_without_weights(folder);
  checkpoint.source = unpack_source(open_weights(folder), packing_of(checkpoint.config, folder));
  if (!checkpoint.config.has("mm_vision_tower")) return checkpoint;
  std::string tower = checkpoint.config.at("mm_vision_tower").as<std::string>();
  with_context("vision tower of " + checkpoint.name, [&] {
    std::filesystem::path place = find_reference(tower, folder);
    if (stores_tower(*checkpoint.source))  // then only its config and preprocessor are needed
      checkpoint.vision_tower = std::make_shared<Checkpoint>(open_without_weights(place));
    else
      checkpoint.add_vision_tower(open(place));
  });
  return checkpoint;
}

void Checkpoint::add_vision_tower(Checkpoint tower) {
  source = merged_source(source, tower.source, "vision_model.", std::string(kStoredTower) + "vision_model.");
  vision_tower = std::make_shared<Checkpoint>(std::move(tower));
}

Checkpoint Checkpoint::from_manifest(const std::filesystem::path& json_gz) {
  Json manifest = read_manifest(json_gz);
  Checkpoint checkpoint;
  checkpoint.name = manifest.get("hub_id", json_gz.stem().string());
  checkpoint.config = manifest.at("config");
  Json files = manifest.find("files");
  checkpoint.preprocessor = files.find("preprocessor_config.json");
  checkpoint.generation = files.find("generation_config.json");
  checkpoint.source = unpack_source(shapes_source(json_gz), packing_of(checkpoint.config, {}));
  return checkpoint;
}

const Tokenizer& Checkpoint::tokens() const {
  if (!tokenizer.tokenizer)
    fail(ErrorKind::bad_checkpoint, "get tokenizer.json or tokenizer.model of this checkpoint",
         "{}: no tokenizer file in the folder", folder.string());
  return *tokenizer.tokenizer;
}

std::vector<int64_t> Checkpoint::eos_ids() const {
  std::vector<int64_t> ids;
  add_ids(generation.find("eos_token_id"), ids);
  if (!ids.empty()) return ids;
  add_ids(config.find("eos_token_id"), ids);
  if (ids.empty()) add_ids(config.find("text_config").find("eos_token_id"), ids);
  if (ids.empty() && tokenizer.info.eos_id) ids.push_back(*tokenizer.info.eos_id);
  return ids;
}

bool Checkpoint::has_architecture(std::string_view word) const {
  Json list = config.find("architectures");
  for (int64_t idx = 0; idx < list.size(); ++idx)
    if (list[idx].is_string() && list[idx].as<std::string>() == word) return true;
  return false;
}

}  // namespace vlm
