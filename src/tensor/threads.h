// How many threads the tensor library uses.
#pragma once

namespace vlm {

// Gives the tensor library as many threads as base/parallel.h has. To be called before the first tensors are
// computed with: LibTorch otherwise counts for itself, and takes that count from its first loop on for
// everything that runs on OpenMP. On virtual machines it was seen to find one core of two.
void share_threads();

}  // namespace vlm
