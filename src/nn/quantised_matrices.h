// The matrices of a model that are rounded to 8 or 4 bits when it is loaded. Layers ask for them one by one
// while the model is built; when all are known, and nothing is missing, they are filled: from a file that an
// earlier run left, or from the checkpoint, in the order in which its files hold them.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ops/linear.h"
#include "weights/weights.h"

namespace vlm::nn {

class QuantisedMatrices {
 public:
  // What tensor `name` of the source will become; not to be computed with before fill(). A name asked for
  // twice is one matrix.
  ops::Matrix add(const std::string& name, int64_t out, int64_t in, int bits);
  // The place's key need not know the kernels' layout: files of another one are made anew.
  void fill(const TensorSource& source, const PackedPlace& wanted_place);

 private:
  struct Job {
    PackedEntry entry;
    ops::Matrix matrix;
  };
  bool fill_from(const PackedPlace& place) const;
  void fill_into_memory(const TensorSource& source) const;
  bool fill_into_file(const TensorSource& source, const PackedPlace& place) const;

  std::vector<Job> jobs_;
  std::map<std::pair<std::string, int>, size_t> known_;  // name and bits
};

}  // namespace vlm::nn
