// GGUF files as checkpoints: config, vocabulary and chat template from their metadata.
#pragma once

#include <filesystem>

#include "system/checkpoint.h"

namespace vlm {

// A .gguf file, or a folder whose only weights are such files. A config.json beside them is not needed, and
// often says no more than the model's kind.
bool is_gguf_checkpoint(const std::filesystem::path& folder_or_file);

// One language model; beside it there may be the tower and projector of LLaVA ("mmproj-*.gguf"), which make
// it a checkpoint in the layout of LLaVA's authors. Throws unsupported for architectures that are not known.
Checkpoint open_gguf_checkpoint(const std::filesystem::path& folder_or_file);

// Throws unsupported for a GGUF checkpoint: its config and vocabulary have no files that a result could take
// along.
void need_other_than_gguf(const std::filesystem::path& folder_or_file);

}  // namespace vlm
