// Writes safetensors files, whole or not at all.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace vlm {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using FileMetadata = std::map<std::string, std::string>;

// What transformers looks for before it reads a file.
inline const FileMetadata kPyTorchMetadata = {{"format", "pt"}};

// The tensors may lie in a mapping of the very file that is replaced.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const FileMetadata& metadata = kPyTorchMetadata);

constexpr int64_t kDefaultShardBytes = 5'000'000'000;

// model.safetensors, or model-00001-of-0000n.safetensors and model.safetensors.index.json where the tensors
// take more than `max_shard_bytes`; in the order given, as transformers does. What an earlier call left under
// the other layout's name is removed. Returns the names of the files.
std::vector<std::string> write_weights(const std::filesystem::path& folder, const NamedTensors& tensors,
                                       const FileMetadata& metadata = kPyTorchMetadata,
                                       int64_t max_shard_bytes = kDefaultShardBytes);

}  // namespace vlm
