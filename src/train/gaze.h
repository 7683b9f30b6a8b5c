// Supervised attention: where the language model should look in a drawn scene while it reads "the red circle"
// or says what is there. Answers alone teach slowly which patches a phrase means; the scene knows it.
//
// After "Attention Correctness in Neural Image Captioning" (Liu et al. 2017, arXiv 1605.09553), which adds
// the cross entropy between attention and the region that a word means; see also "Taking a HINT" (Selvaraju
// et al. 2019, arXiv 1902.03751).
#pragma once

#include <string>
#include <vector>

#include "system/system.h"
#include "text/tokenizer.h"
#include "train/data/questions.h"
#include "train/patch_labels.h"

namespace vlm {

// What one token should look at.
struct Gaze {
  struct Target {
    std::vector<int64_t> positions;
    double share = 1;  // of the token's attention; a gaze's shares sum up to 1
    bool operator==(const Target&) const = default;
  };
  int64_t row = 0;  // the token's position
  // Of a token that predicts an answer's next one, or else of the end of a phrase.
  bool in_answer = false;
  bool is_second = false;  // at the same time as another gaze of the token
  // The token sees positions before `shared` and from `begin` on (and none behind its own).
  int64_t shared = 0, begin = 0;
  double weight = 1;  // in the loss
  // With two things to compare, an answer may as well look at the phrases, which have looked at them before,
  // and the second phrase looks back at the first.
  std::vector<Target> targets = {};
};

// Of a conversation's turns about a scene, whose picture has grid * grid patches and comes first.
std::vector<Gaze> gazes_of(const Prompt& prompt, const Tokenizer& tokenizer,
                           const std::vector<data::Turn>& turns, const ScenePatches& patches);

// Keeps a layer's queries and keys while a pass runs: [T, A, E] and [T, G, E].
struct QueriesAndKeys {
  Tensor query, key;
};

struct GazeLoss {
  Tensor loss;        // undefined without gazes
  double mass = 0;    // of the attention on targets, summed over gazes
  int64_t count = 0;  // gazes
};

// Weighted mean over the gazes of the cross entropy between the shares that targets should get and those they
// get from the first head, or from the second for gazes that are second. gazes[i] belongs to the i-th of
// sequences of these lengths, one behind the other.
GazeLoss gaze_loss(const QueriesAndKeys& layer, const std::vector<int64_t>& lengths,
                   const std::vector<std::vector<const Gaze*>>& gazes);

}  // namespace vlm
