// A checkpoint folder with everything but the weights' values read.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/source.h"

namespace vlm {

struct Checkpoint {
  std::filesystem::path folder;  // empty for a manifest
  std::string name;           // hub id or folder name, for messages and for telling identical layouts apart
  Json config;                // config.json; null views for files that are absent
  Json preprocessor;          // preprocessor_config.json
  Json generation;            // generation_config.json
  LoadedTokenizer tokenizer;  // tokenizer.tokenizer is null when the folder has none
  std::shared_ptr<const ChatTemplate> chat_template;  // null when there is none
  std::shared_ptr<const TensorSource> source;
  std::shared_ptr<const Checkpoint>
      vision_tower;  // of layouts that name their tower in the config and publish it apart

  static Checkpoint open(const std::filesystem::path& folder);
  // For training from scratch: `source` is left to the caller.
  static Checkpoint open_without_weights(const std::filesystem::path& folder);
  // manifests/README.md: names and shapes of a published checkpoint; no tokenizer, no values.
  static Checkpoint from_manifest(const std::filesystem::path& json_gz);
  // Adds a tower published apart; its "vision_model." tensors appear as the layout stores them when it does.
  void add_vision_tower(Checkpoint tower);

  // Throws bad_checkpoint naming what is missing.
  const Tokenizer& tokens() const;
  std::vector<int64_t> eos_ids()
      const;  // generation_config.json, else config.json (and its text part), else the tokenizer's
  bool has_architecture(std::string_view word) const;  // in config.json's "architectures"
};

}  // namespace vlm
