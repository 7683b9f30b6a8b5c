// Training recipes: TOML files that say what is trained, on what, and how.
//
//   name = "default"
//   [model]       init = "default"            a folder with config.json and tokenizer, or
//                 folder = "path"             a checkpoint to go on from
//   [data]        source = "scenes"           or the path of a JSON list in LLaVA's format
//   [evaluation]  every = 1000                steps between evaluations on held-out questions
//   [output]      folder = "path"             receives training_state.safetensors and the finished model
//   [run]         workers = 2                 passes at the same time
//   [[stage]]     name, trains, freezes, steps, batch, lr, ...
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/data/dataset.h"
#include "train/optimizer.h"
#include "weights/weights.h"

namespace vlm {

struct StageRecipe {
  std::string name;
  // "answers", "patches" (the tower alone names what the patches of scenes show), "contrastive" (pictures and
  // their captions, for dual encoders), "pairs" (the same by all objectives that the model has: matching,
  // ...).
  std::string objective = "answers";
  std::vector<std::string> trains = {"*"};  // "vision", "connector", "language", or patterns of names
  std::vector<std::string> freezes;         // the same; wins over `trains`
  int64_t steps = 0;
  int64_t batch = 16;                      // examples of one step's pass
  int64_t accumulate = 1;                  // passes of one step
  int64_t tokens = 0;                      // longest example; 0: as long as it is
  bool pad = true;                         // examples of a pass to one length
  std::string precision = "float32";       // of products; "bfloat16" on processors that multiply it fast
  LearningRate rate;                       // lr, warmup, schedule, cooldown, last_lr
  std::map<std::string, double> lr_scale;  // by part or pattern
  AdamOptions adam;                        // beta1, beta2, epsilon, weight_decay, clip
  double average = 0;                      // > 0: decay of the averaged weights, which are what is saved
  double patch_loss = 0;                   // weight of naming what each patch of a scene shows
  double question_loss = 0;   // weight of predicting the questions: what they name is in the picture
  double word_loss = 0;       // weight of the connector's outputs resembling the words for them
  double attention_loss = 0;  // weight of looking at what phrases and answers mean
  std::vector<int64_t> attention_layers = {1, 2};  // of the language model: where phrases look, and answers
  double apart = 0;                                // share of pictures whose turns do not see each other
  int64_t drills = 0;                              // exercises among the turns about a scene
  double dense_share = 0;                          // crowded scenes, for patch_loss alone, for each example
  LoraOptions lora;
  data::DataOptions data;  // [data.scenes], overridden by [stage.scenes]
};

struct Recipe {
  std::string name;
  std::filesystem::path model_folder;
  bool from_scratch = false;  // `init`: the folder has no weights
  std::string system;         // forced slug; usually empty
  std::string source = "scenes";
  std::filesystem::path images;
  uint64_t seed = 0;
  int64_t evaluate_every = 0;  // steps; 0: never
  int64_t evaluate_questions = 200;
  std::filesystem::path output;
  double save_every_s = 300;
  int64_t workers = 1;                 // passes computed at the same time, each on one core; 1: one, on all
  std::string save_dtype = "float32";  // or "bfloat16"
  std::vector<StageRecipe> stages;
};

// Paths in the recipe are relative to its own folder, those in overrides to the working one. `overrides`:
// "data.seed=3", "stage.align.lr=1e-4", "output.folder=/somewhere". Throws bad_request, naming the nearest
// key for one that is unknown.
Recipe read_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

}  // namespace vlm
