// A few rows of x may hold an input or two of hundreds or thousands of times their mean (massive activations,
// arXiv:2402.17762). Rotated, one would take all of its group's precision, and what rounding takes off it
// would be all that is wrong with the row's outputs: such inputs are multiplied in floats.
#pragma once

#include <vector>

#include "kernels/product.h"

namespace vlm::kernels {

struct Massive {
  int64_t input, row;
  float value;
};

// The magnitude above which inputs of a row are massive, 64 times their mean; infinity if none is, or more
// than 8: what lies in many is not rare, and rotation spreads it.
float massive_above(const float* row, int64_t in);

// Those of all rows, by inputs.
void collect_massive(const Product& product, int64_t in, const float* above, std::vector<Massive>& found);

// Both: fills `above` [rows].
void find_massive(const Product& product, int64_t in, float* above, std::vector<Massive>& found);

// Where rows are many, they must not have more than 32 massive inputs between them: else false, and none, and
// infinity in all of `above`.
bool keep_few_massive(int64_t rows, float* above, std::vector<Massive>& found);

// Adds what they are multiplied by to y.
void add_massive(const std::vector<Massive>& found, const Product& product, const QuantisedMatrix& weight);

}  // namespace vlm::kernels
