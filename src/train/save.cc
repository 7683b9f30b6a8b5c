#include "train/save.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/log.h"
#include "ops/linear.h"
#include "system/gguf_checkpoint.h"
#include "tensor/group_layout.h"
#include "weights/delta_source.h"
#include "weights/writer.h"

namespace vlm {

namespace {

constexpr double kLargestHalf = 65504;
constexpr double kSmallestScale = 0x1p-17;
constexpr char kAdapterA[] = "lora_A.weight";
constexpr char kAdapterB[] = "lora_B.weight";

bool holds_weights(const std::filesystem::path& file) {
  static const std::set<std::string> endings = {".safetensors", ".bin", ".pt",      ".pth",
                                                ".gguf",        ".h5",  ".msgpack", ".onnx"};
  return endings.count(file.extension().string()) > 0 || file.filename().string().ends_with(".index.json");
}

void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  if (std::filesystem::equivalent(from, to)) return;
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file() || holds_weights(entry.path())) continue;
    std::filesystem::copy_file(entry.path(), to / entry.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
}

// Folders below a checkpoint (a second tokenizer's, say) stay as they are.
void copy_folders(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from))
    if (entry.is_directory())
      std::filesystem::copy(entry.path(), to / entry.path().filename(),
                            std::filesystem::copy_options::recursive);
}

// A tower that was published apart is stored with the rest; its config stays a folder of its own.
void copy_tower_files(const Checkpoint& checkpoint, const std::filesystem::path& to) {
  if (const auto& tower = checkpoint.vision_tower)
    copy_other_files(tower->folder, to / std::filesystem::path(tower->name).filename());
}

int64_t bytes_of(const TensorSource& source) {
  int64_t bytes = 0;
  for (const std::string& name : source.names()) bytes += source.info(name).file_bytes;
  return bytes;
}

// Layers that are matrices of the forward pass; tables of positions and the like are read row by row.
bool is_quantisable(const std::string& name, const TensorInfo& info) {
  bool is_float = info.dtype == at::kFloat || info.dtype == at::kHalf || info.dtype == at::kBFloat16;
  return is_float && info.shape.size() == 2 && name.ends_with("weight") &&
         name.find("position") == std::string::npos && can_quantise(info.shape[0], info.shape[1]);
}

Tensor as_half(const Tensor& tensor) {
  if (!tensor.is_floating_point()) return tensor;
  Tensor values = tensor.to(at::kFloat);
  bool fits = values.numel() == 0 || values.abs().max().item<double>() < kLargestHalf;
  return fits ? values.to(at::kHalf) : values;
}

// In float16 where that keeps at least 7 bits of each.
Tensor scales_as_half(const Tensor& scales) {
  bool fits = !scales.gt(0).logical_and(scales < kSmallestScale).any().item<bool>();
  return fits ? as_half(scales) : scales;
}

// Inputs that a short run left silent may speak later.
Tensor with_floor(const Tensor& importance) {
  constexpr double kShareOfMean = 0.01;
  return importance + importance.mean() * kShareOfMean;
}

}  // namespace

void save_model(const LoadedModel& model, const std::filesystem::path& folder, at::ScalarType dtype) {
  need_other_than_gguf(model.checkpoint.folder);
  at::NoGradGuard no_grad;
  if (!model.checkpoint.folder.empty()) {
    copy_other_files(model.checkpoint.folder, folder);
    for (const auto& entry : std::filesystem::directory_iterator(model.checkpoint.folder))
      if (entry.is_directory() && entry.path().filename().string().ends_with("tokenizer"))
        copy_other_files(entry.path(), folder / entry.path().filename());  // a second one, of a Q-Former
  }
  copy_tower_files(model.checkpoint, folder);
  std::filesystem::create_directories(folder);
  NamedTensors tensors;
  std::set<std::string> saved;
  for (const Parameter& parameter : model.weights->parameters()) {
    tensors.emplace_back(parameter.name, parameter.value.detach().to(dtype).contiguous());
    saved.insert(parameter.name);
  }
  // Quantised matrices, and what the system does not read.
  const TensorSource& source = model.weights->source();
  auto is_beside_saved = [&](const std::string& name) {  // the groups of a matrix that is a parameter now
    for (const char* beside : {"_scale", "_min", "_order"})
      if (name.ends_with(beside) &&
          saved.count(name.substr(0, name.size() - std::string_view(beside).size())))
        return true;
    return false;
  };
  for (const std::string& name : source.names())
    if (!saved.count(name) && !is_beside_saved(name)) tensors.emplace_back(name, source.load(name));
  write_weights(folder, tensors);
}

bool is_adapter(const std::string& name) {
  return name.ends_with(kAdapterA) || name.ends_with(kAdapterB);
}

std::string adapted_name(const std::string& adapter_name) {
  return adapter_name.substr(0, adapter_name.rfind("lora_")) + "weight";
}

void save_adapters(const std::map<std::string, Tensor>& values, const LoraOptions& lora,
                   const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  NamedTensors tensors;
  nlohmann::ordered_json modules = nlohmann::ordered_json::array();
  for (const auto& [name, value] : values) {
    if (!is_adapter(name)) continue;
    tensors.emplace_back("base_model.model." + name, value.contiguous());
    if (name.ends_with(kAdapterA)) modules.push_back(name.substr(0, name.size() - sizeof kAdapterA));
  }
  nlohmann::ordered_json config = {{"peft_type", "LORA"}, {"r", lora.rank}, {"lora_alpha", lora.alpha},
                                   {"lora_dropout", 0.0}, {"bias", "none"}, {"target_modules", modules}};
  write_text(folder / "adapter_config.json", config.dump(2) + "\n");
  write_safetensors(folder / "adapter_model.safetensors", tensors);
}

void merge_adapters(std::map<std::string, Tensor>& values, const LoraOptions& lora) {
  at::NoGradGuard no_grad;
  double scale = lora.alpha / static_cast<double>(std::max<int64_t>(lora.rank, 1));
  for (auto& [name, value] : values) {
    if (!name.ends_with("weight") || is_adapter(name)) continue;
    std::string stem = name.substr(0, name.size() - std::string_view("weight").size());
    auto a = values.find(stem + kAdapterA), b = values.find(stem + kAdapterB);
    if (a != values.end() && b != values.end()) value = value + at::mm(b->second, a->second) * scale;
  }
  std::erase_if(values, [](const auto& entry) { return is_adapter(entry.first); });
}

void quantise_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to,
                         const QuantiseSettings& options) {
  Precision precision = options.precision;
  need_other_than_gguf(from);
  if (precision != Precision::int8 && precision != Precision::int4)
    fail(ErrorKind::bad_request, "use int8 or int4", "{} is not a quantised precision",
         precision_name(precision));
  if (std::filesystem::exists(to) && std::filesystem::equivalent(from, to))
    fail(ErrorKind::bad_request, "give another folder for the result", "{}: would replace the original",
         to.string());
  at::NoGradGuard no_grad;
  int bits = precision == Precision::int8 ? 8 : 4;
  Checkpoint checkpoint = Checkpoint::open(from);
  if (!options.base.empty()) checkpoint.source = delta_source(checkpoint.source, open_weights(options.base));
  const std::shared_ptr<const TensorSource>& source = checkpoint.source;
  NamedTensors tensors;
  Progress progress{"quantising", 0, static_cast<double>(bytes_of(*source)), "bytes", ""};
  for (const std::string& name : source->names()) {
    report_progress(progress);
    progress.done += static_cast<double>(source->info(name).file_bytes);
    if (source->has(name + "_scale"))
      fail(ErrorKind::bad_request, "start from the original checkpoint", "{}: {} is quantised already",
           from.string(), name);
    Tensor value = source->load(name);
    if (!is_quantisable(name, source->info(name))) {
      tensors.emplace_back(name, as_half(value));
      continue;
    }
    auto known = options.importance.find(name);
    Tensor importance = known == options.importance.end() ? Tensor() : with_floor(known->second);
    auto [quants, scales, minimums] = ops::round_to_groups(value, bits, importance);
    drop_pages(source->mapped_bytes(name));
    tensors.emplace_back(name, quants);
    tensors.emplace_back(name + "_scale", scales_as_half(scales));
    if (minimums.defined()) tensors.emplace_back(name + "_min", as_half(minimums));
  }
  report_progress(progress);
  copy_other_files(from, to);
  copy_folders(from, to);
  copy_tower_files(checkpoint, to);
  const char* config_name =
      std::filesystem::exists(from / "config.json") ? "config.json" : "open_clip_config.json";
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_text(from / config_name));
  config["quantization_config"] = {{"quant_method", "vlm"}, {"bits", bits}, {"group_size", kGroupSize}};
  write_text(to / config_name, config.dump(2) + "\n");
  write_weights(to, tensors);
}

}  // namespace vlm
