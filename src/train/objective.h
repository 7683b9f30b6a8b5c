// What a stage of training makes smaller: batches of examples, and their loss.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "system/system.h"
#include "train/evaluate.h"
#include "train/examples.h"
#include "train/recipe.h"

namespace vlm {

// What one forward pass over a batch gives.
struct PassResult {
  Tensor loss;             // [], to be differentiated
  double value = 0;        // of the stage's own loss
  double patch_value = 0;  // of naming what patches show, where that is trained as well
  double word_value = 0;   // of the connector's outputs resembling the words for them
  // Attention on what it should look at, of phrases and of answers, and how many looks there were.
  std::array<double, 2> gaze_mass = {};
  std::array<int64_t, 2> gazes = {};
  int64_t tokens = 0, examples = 0;
  std::map<std::string, ExactMatch::Count> kinds;  // answers whose tokens all were the likeliest
  std::vector<double> patch_right;                 // share of patches by field; -1 where there is none
};

struct TrainingBatch {
  std::vector<Example> examples;
  std::vector<Example> crowded;  // scenes for patch labels alone
  Tensor pixels, text_ids;       // of pairs
};

// Names of parameters that belong to an objective and not to the model.
constexpr char kOwnPrefix[] = "patch_classifier.";

class Objective {
 public:
  virtual ~Objective() = default;
  virtual TrainingBatch make_batch(int64_t index) const = 0;  // from one thread at a time
  virtual PassResult run(TrainingBatch batch) const = 0;      // from several threads at once
  // Trained beside the model's, and not saved with it.
  const std::vector<Parameter>& own_parameters() const { return own_parameters_; }

 protected:
  std::vector<Parameter> own_parameters_;
};

// `known`: parameters of an earlier stage or a stopped run, among them the objective's own.
std::unique_ptr<Objective> make_objective(const Recipe& recipe, const StageRecipe& stage, int64_t stage_index,
                                          const LoadedModel& model,
                                          const std::map<std::string, Tensor>& known);

// Which of "vision", "connector", "language" a parameter belongs to.
LanguageTrainable::PartNames part_names_of(const Model& model);

}  // namespace vlm
