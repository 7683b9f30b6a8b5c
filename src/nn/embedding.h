#pragma once

#include "weights/weights.h"

namespace vlm::nn {

// A table of rows [vocabulary, width], tensor `weight` below `w`; kept in the file's own 16 bits where the
// precision allows.
class Embedding {
 public:
  Embedding() = default;
  Embedding(const Weights& w, int64_t rows, int64_t width);
  Tensor operator()(
      const Tensor& ids) const;  // int64 [...] -> float32 [..., width]; throws bad_request for ids outside
  const Tensor& table() const { return table_; }  // [rows, width]
  int64_t rows() const { return table_.size(0); }

 private:
  Tensor table_;
};

}  // namespace vlm::nn
