// From what people call a model to a model ready for use. Shared by the command line, the server and the
// public API.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "system/system.h"

namespace vlm {

struct LoadOptions {
  std::optional<Precision> precision;            // none: choose_precision()
  std::optional<ops::KvPrecision> kv_precision;  // of keys and values; none: choose_kv_precision()
  std::string revision = "main";                 // of a hub id: branch, tag or commit
  std::string base;                              // of delta weights: the language model they are added to
  std::string system;    // a slug forces that system; empty: the one that accepts the checkpoint
  bool lenient = false;  // missing and unused tensors are logged instead of refused
  int threads = 0;       // 0: leave as it is
  // Keep what was quantised for the next time (engine/quantised_cache.h) if it is of a checkpoint at least so
  // large; smaller ones are quantised faster than a file is found.
  bool keep_quantised = true;
  int64_t smallest_kept_bytes = int64_t{512} << 20;
};

// "auto" is no precision, see choose_precision(); other words as precision_from().
std::optional<Precision> precision_or_auto(const std::string& word);

// The folder of a model given as a folder, as "default" (the small model that is installed with the library),
// or as a hub id in the local cache. Throws not_found with the command that gets it.
std::filesystem::path find_model(const std::string& model, const std::string& revision = "main");

// The file's own quantisation where it has one; else float32 for files below 2 GB, bfloat16 above.
Precision choose_precision(const TensorSource& source);

// float32 beside float32 weights. Beside others float16: it halves what a long context takes and what
// decoding reads of it, and changes logits by far less than such weights do (docs/speed.md).
ops::KvPrecision choose_kv_precision(Precision weights);
std::optional<ops::KvPrecision> kv_precision_or_auto(const std::string& word);

std::shared_ptr<const LoadedModel> load_model(const std::string& model, const LoadOptions& options = {});

}  // namespace vlm
