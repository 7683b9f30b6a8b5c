// Writes trained models as checkpoints that load like published ones.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "system/system.h"

namespace vlm {

// Parameters and whatever the checkpoint stored beside them into model.safetensors (or shards), and copies of
// the checkpoint's config, tokenizer and processor files.
void save_model(const LoadedModel& model, const std::filesystem::path& folder, at::ScalarType dtype);

// Low-rank adapters beside the matrices they adapt: "X.lora_A.weight" and "X.lora_B.weight" of "X.weight".
bool is_adapter(const std::string& name);
std::string adapted_name(const std::string& adapter_name);
// The adapters among `values`, as PEFT writes them: adapter_model.safetensors and adapter_config.json.
void save_adapters(const std::map<std::string, Tensor>& values, const LoraOptions& lora,
                   const std::filesystem::path& folder);
// Adds them to their matrices and takes them away.
void merge_adapters(std::map<std::string, Tensor>& values, const LoraOptions& lora);

// A copy of a checkpoint with the matrices of linear layers and embeddings in groups of 32 as GroupQuantised
// (weights/weights.h) describes; tensors of other shapes in float16 (float32 where they would overflow).
struct QuantiseSettings {
  Precision precision = Precision::int8;
  std::filesystem::path base = {};  // of delta weights: what they are added to
  std::map<std::string, Tensor> importance =
      {};  // of the inputs of matrices, by name, as calibrate() gives it
};
void quantise_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to,
                         const QuantiseSettings& options);

}  // namespace vlm
