// A short run of a model over pictures and questions, which tells what the inputs of its layers are like.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "system/system.h"

namespace vlm {

struct CalibrationOptions {
  // A folder of pictures, each described by the model, or a list in LLaVA's format (train/examples.h) whose
  // pictures lie beside it.
  std::filesystem::path data;
  int64_t count = 128;  // at most so many of them
};

// The mean square of each input of each linear layer, float32 [in], by the published name of its matrix.
std::map<std::string, Tensor> calibrate(Checkpoint checkpoint, Precision precision,
                                        const CalibrationOptions& options);

}  // namespace vlm
