#include "engine/load.h"

#include "base/parallel.h"
#include "engine/assets.h"
#include "engine/quantised_cache.h"
#include "system/hub_cache.h"
#include "tensor/threads.h"
#include "weights/delta_source.h"

namespace vlm {

namespace fs = std::filesystem;

namespace {

constexpr char kDefault[] = "default";
constexpr int64_t kLargestInFloat32_bytes = int64_t{2} << 30;
// A value in bits, scales included: 4.5 in blocks of Q4, 6.6 of Q6, 8.5 of Q8. The mean over a file lies
// higher, for embeddings and the last matrix are kept finer.
constexpr double kMostBitsOfInt4 = 5.2;
constexpr double kMostBitsOfInt8 = 10;

bool is_checkpoint(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "config.json", ignored) || fs::exists(folder / "open_clip_config.json", ignored);
}

fs::path find_default() {
  std::string list;
  for (const fs::path& place : shared_places(kDefault, "assets")) {
    if (is_checkpoint(place)) return place;
    list += (list.empty() ? "" : ", ") + place.string();
  }
  fail(ErrorKind::not_found, "name a model, or set VLM_ASSETS to the folder that holds default/",
       "the default model was not found; looked at {}", list);
}

// As LLaVA-7b-delta-v0 and vicuna-7b-delta-v1.1 are called; nothing in the files tells.
bool is_delta(const std::string& name) {
  return name.find("-delta-") != std::string::npos;
}

bool is_hub_id(const std::string& model) {
  size_t slash = model.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < model.size() && model.front() != '.' &&
         model.find('/', slash + 1) == std::string::npos;
}

// What AutoGPTQ and AutoAWQ packed stays packed, and what they left in 16 bits stays so, too: vision towers,
// embeddings, heads.
bool is_packed(const Checkpoint& checkpoint) {
  std::string method = checkpoint.config.find("quantization_config").get("quant_method", "");
  return method == "gptq" || method == "awq";
}

}  // namespace

std::optional<Precision> precision_or_auto(const std::string& word) {
  if (word == "auto") return std::nullopt;
  return precision_from(word);
}

fs::path find_model(const std::string& model, const std::string& revision) {
  if (model.empty())
    fail(ErrorKind::bad_request, "give a folder, a hub id such as org/name, or default",
         "the model's name is empty");
  std::error_code ignored;
  if (fs::exists(model, ignored)) return model;
  if (model == kDefault) return find_default();
  if (auto snapshot = cached_snapshot(model, revision)) return *snapshot;
  if (is_hub_id(model)) {
    std::string command = "vlm pull " + model + (revision == "main" ? "" : " --revision " + revision);
    fail(ErrorKind::not_found, "get it with: " + command, "{} is neither a folder nor in the cache {}{}",
         model, hub_cache_folder().string(), revision == "main" ? "" : " (revision " + revision + ")");
  }
  fail(ErrorKind::not_found, "give the folder of a checkpoint, a hub id such as org/name, or default",
       "{}: no such model", model);
}

Precision choose_precision(const TensorSource& source) {
  int64_t total_bytes = 0, matrix_bytes = 0, matrix_values = 0;
  for (const std::string& name : source.names()) {
    TensorInfo info = source.info(name);
    if (source.has(name + "_scale")) {  // as Weights::take_quantised() knows them
      if (info.dtype == at::kByte) return Precision::int4;
      if (info.dtype == at::kChar) return Precision::int8;
    }
    total_bytes += info.file_bytes;
    if (info.shape.size() < 2) continue;
    int64_t values = 1;
    for (int64_t size : info.shape) values *= size;
    matrix_bytes += info.file_bytes, matrix_values += values;
  }
  if (matrix_values > 0) {  // GGUF's blocks
    double bits = 8.0 * static_cast<double>(matrix_bytes) / static_cast<double>(matrix_values);
    if (bits <= kMostBitsOfInt4) return Precision::int4;
    if (bits <= kMostBitsOfInt8) return Precision::int8;
  }
  return total_bytes <= kLargestInFloat32_bytes ? Precision::f32 : Precision::bf16;
}

ops::KvPrecision choose_kv_precision(Precision weights) {
  return weights == Precision::f32 ? ops::KvPrecision::f32 : ops::KvPrecision::f16;
}

std::optional<ops::KvPrecision> kv_precision_or_auto(const std::string& word) {
  if (word == "auto") return std::nullopt;
  return ops::kv_precision_from(word);
}

std::shared_ptr<const LoadedModel> load_model(const std::string& model, const LoadOptions& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  share_threads();
  Checkpoint checkpoint = Checkpoint::open(find_model(model, options.revision));
  if (!options.base.empty())
    checkpoint.source = delta_source(checkpoint.source, open_weights(find_model(options.base)));
  else if (is_delta(checkpoint.name))
    fail(ErrorKind::bad_request, "name the language model they were made from: --base FOLDER",
         "{} holds differences to a language model, not weights", checkpoint.name);
  WeightsOptions weights;
  if (options.precision)
    weights.precision = *options.precision;
  else
    weights.precision = is_packed(checkpoint) ? Precision::bf16 : choose_precision(*checkpoint.source);
  weights.lenient = options.lenient;
  if (options.keep_quantised)
    weights.packed_place = place_in_cache(checkpoint, weights.precision, options.smallest_kept_bytes);
  auto loaded = std::make_shared<LoadedModel>(bind_model(std::move(checkpoint), weights, options.system));
  loaded->kv_precision = options.kv_precision.value_or(choose_kv_precision(weights.precision));
  return loaded;
}

}  // namespace vlm
