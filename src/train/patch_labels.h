// What every patch of a drawn scene shows: dense supervision of a vision tower, for which a question takes
// hundreds of pictures. The classifier is only used while training and never saved with the model.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "train/data/scene.h"

namespace vlm {

// Classes of each field; class 0 means "none".
std::vector<int64_t> patch_fields();
// The words that answers use for each class of each field, "" where there are none. Letters stand for
// themselves.
std::vector<std::vector<std::string>> patch_words();
struct PatchesOfThing {
  std::vector<int64_t> all;  // those that show it and nothing that lies on top, by number
  int64_t centre = 0;
};
struct ScenePatches {
  Tensor labels;                                  // int64 [grid * grid, fields]
  std::vector<PatchesOfThing> objects, pictures;  // in the scene's order
  std::vector<std::vector<int64_t>> letters;      // of each text: every letter's patch, -1 for none
};
// Of the scene drawn on a square picture.
ScenePatches patches_of(const data::Scene& scene, int64_t grid);
Tensor patch_labels(const data::Scene& scene, int64_t grid);
// Mean cross entropy over the fields; patches that show nothing weigh little. logits [N, sum of classes],
// labels [N, fields].
Tensor patch_loss(const Tensor& logits, const Tensor& labels);
// Of patches that show something: the share of right labels, for each field; -1 where a field never occurs.
std::vector<double> patch_accuracy(const Tensor& logits, const Tensor& labels);

}  // namespace vlm
