// Everything a stopped run needs to go on exactly where it was, in one file that is replaced as a whole.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "tensor/tensor.h"

namespace vlm {

struct TrainingState {
  int64_t stage = 0;                                                  // index of the stage to go on with
  int64_t step = 0;                                                   // its steps done
  int64_t adam_steps = 0;                                             // steps that changed the weights
  std::map<std::string, Tensor> parameters, first, second, averages;  // by parameter name
};

constexpr char kTrainingStateFile[] = "training_state.safetensors";
void save_training_state(const std::filesystem::path& folder, const TrainingState& state);
std::optional<TrainingState> load_training_state(const std::filesystem::path& folder);  // absent: none there

}  // namespace vlm
