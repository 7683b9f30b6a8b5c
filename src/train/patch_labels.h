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
// int64 [grid * grid, fields] of the scene drawn on a square picture.
Tensor patch_labels(const data::Scene& scene, int64_t grid);
// Mean cross entropy over the fields; patches that show nothing weigh little. logits [N, sum of classes],
// labels [N, fields].
Tensor patch_loss(const Tensor& logits, const Tensor& labels);
// Of patches that show something: the share of right labels, for each field; -1 where a field never occurs.
std::vector<double> patch_accuracy(const Tensor& logits, const Tensor& labels);

}  // namespace vlm
