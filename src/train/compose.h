// Joins a tower, a connector and a language model to one checkpoint (docs/compose.md).
#pragma once

#include <cstdint>
#include <filesystem>

namespace vlm {

struct ComposeResult {
  int64_t parameters = 0;
  int64_t fresh_parameters = 0;  // with values to start training from: the connector's, as a rule
};

// Reads the config (TOML) and writes config.json, tokenizer, processor, template and weights into `folder`.
// Parts named by checkpoint keep their weights, looked for beside the config and in the hub's cache. Throws
// what reading them throws; bad_request for a config that says too little, or what does not fit together.
ComposeResult compose_checkpoint(const std::filesystem::path& config_toml,
                                 const std::filesystem::path& folder, uint64_t seed = 0);

}  // namespace vlm
