// Training examples by number: the same number gives the same example, so a run can be continued anywhere.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "system/system.h"
#include "train/data/dataset.h"
#include "train/gaze.h"

namespace vlm {

struct Example {
  Prompt prompt;
  std::vector<std::string> kinds;  // of its answers in order, where the source knows them
  Tensor patch_labels;             // int64 [patches, fields], of drawn scenes
  std::vector<Gaze> gazes;         // of drawn scenes as well
};

class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual Example make(int64_t index) const = 0;  // from one thread at a time
  // A crowded scene without questions, for its patch labels; only drawn scenes have them.
  virtual Example make_crowded(int64_t index) const = 0;
  struct Pair {
    Image image;
    std::string text;
  };
  virtual Pair make_pair(int64_t index) const = 0;  // a picture and its caption
  virtual int64_t size() const = 0;                 // examples of one epoch; 0: endless
};

struct ExampleOptions {
  uint64_t seed = 0;
  int64_t longest = 0;                           // tokens; turns that do not fit are left out; 0: no limit
  int64_t patch_grid = 0;                        // of patch labels; 0: none
  int64_t drills = 0;                            // exercises beside the questions about a scene
  double apart = 0;                              // share of examples whose turns do not see each other
  std::shared_ptr<const Tokenizer> gaze_tokens;  // the model's, where examples shall say where to look
};

// Drawn scenes with conversations about them. `model` makes prompts; pairs need none.
std::unique_ptr<ExampleSource> scene_examples(const LanguageTrainable* model, const data::DataOptions& data,
                                              const ExampleOptions& options);
// A JSON list in LLaVA's format: {"image": "name.png", "conversations": [{"from": "human" | "gpt",
// "value"}]}. "image" may be a list of names, in the order of their <image> marks.
std::unique_ptr<ExampleSource> list_examples(const LanguageTrainable* model,
                                             const std::filesystem::path& json,
                                             const std::filesystem::path& images,
                                             const ExampleOptions& options);

// Leaves out what stands behind the last whole answer within `longest` tokens. False when no answer fits.
bool cut_example(Example& example, int64_t longest);
// Appends uncounted copies of `id` up to `length` tokens: sequences of one length are computed together.
void pad_example(Example& example, int64_t length, int64_t id);

}  // namespace vlm
