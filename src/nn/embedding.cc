#include "nn/embedding.h"

namespace vlm::nn {

Embedding::Embedding(const Weights& w, int64_t rows, int64_t width)
    : table_(w.take_matrix("weight", {rows, width})) {}

Tensor Embedding::operator()(const Tensor& ids) const {
  if (ids.numel() > 0) {
    int64_t low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
    if (low < 0 || high >= rows())
      fail(ErrorKind::bad_checkpoint, "the tokenizer's files belong to another model",
           "token id {} is outside the vocabulary of {} rows", low < 0 ? low : high, rows());
  }
  return at::embedding(table_, ids).to(at::kFloat);
}

}  // namespace vlm::nn
