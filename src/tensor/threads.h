// How many threads the tensor library uses.
#pragma once

namespace vlm {

// Gives the tensor library as many threads as base/parallel.h has. To be called before the first tensors are
// computed with: LibTorch otherwise counts for itself, and takes that count from its first loop on for
// everything that runs on OpenMP. On virtual machines it was seen to find one core of two.
void share_threads();

// Keeps the calling thread's loops, products and tensor operations to itself. Setting the number alone would
// not: in its first loop of a thread LibTorch takes the count of the process, for OpenBLAS as well.
void use_one_thread();

}  // namespace vlm
