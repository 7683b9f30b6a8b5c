// Runs training recipes.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/recipe.h"

namespace vlm {

struct TrainOptions {
  // Set it, from a signal handler say, and training saves its state and returns.
  const std::atomic<bool>* stop = nullptr;
  bool resume = true;     // go on from output.folder/training_state.safetensors when it is there
  int64_t max_steps = 0;  // > 0: stop after so many steps of this call
};

struct TrainResult {
  bool finished = false;  // false: stopped before the last stage's end; run again to go on
  std::string stage;      // the last one that ran
  int64_t step = 0;       // its steps done
  double loss = 0;        // mean of the last steps
};

// Everything is reported through base/log.h: progress ("training pretrain", steps, "loss 1.23, 4567
// tokens/s") and info lines. Results in the recipe's output folder: training_state.safetensors, from which
// the run goes on, and once all stages are done the checkpoint itself under the names it is published with.
TrainResult run_recipe(const Recipe& recipe, const TrainOptions& options = {});

}  // namespace vlm
