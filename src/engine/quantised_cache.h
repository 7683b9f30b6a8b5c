// Where the quantised weights of large checkpoints are kept, so that the next start maps them instead of
// rounding again: one file for each checkpoint and precision (weights/packed_file.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "system/checkpoint.h"
#include "weights/weights.h"

namespace vlm {

// $VLM_CACHE/quantised, else $XDG_CACHE_HOME/vlm/quantised, else ~/.cache/vlm/quantised. Empty when VLM_CACHE
// is "off", or when there is no home.
std::filesystem::path quantised_cache_folder();

// The place of a checkpoint's weights in this precision; nowhere when its files have less than
// `smallest_bytes`, when the precision is not a quantised one, or when the folder cannot be made. Removes
// what it replaces, and what runs that were killed left.
PackedPlace place_in_cache(const Checkpoint& checkpoint, Precision precision, int64_t smallest_bytes);

struct KeptModel {
  std::filesystem::path file;
  std::string checkpoint;  // folder it was made from
  std::string precision;
  int64_t bytes = 0;
};
std::vector<KeptModel> kept_models();  // largest first
int64_t clear_kept_models();           // bytes that were freed

}  // namespace vlm
