// Writes trained models as checkpoints that load like published ones.
#pragma once

#include <filesystem>
#include <string>

#include "system/system.h"

namespace vlm {

// Parameters and whatever the checkpoint stored beside them into model.safetensors (or shards), and copies of
// the checkpoint's config, tokenizer and processor files.
void save_model(const LoadedModel& model, const std::filesystem::path& folder, at::ScalarType dtype);

// A copy of a checkpoint with the matrices of linear layers and embeddings in groups of 32 as GroupQuantised
// (weights/weights.h) describes; tensors of other shapes in float16 (float32 where they would overflow).
void quantise_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to,
                         Precision precision);

}  // namespace vlm
