// Which processor's kernels OpenBLAS multiplies with. It goes by the processor's model, and Debian 12's
// 0.3.21 takes some of Intel's that came after it (Emerald Rapids, Raptor Lake) for a Pentium 4.
#pragma once

#include <string_view>

namespace vlm {

struct VectorFeatures {
  bool has_avx2 = false;    // with FMA
  bool has_avx512 = false;  // F, BW, DQ, VL and CD, as Skylake's servers have them
};

VectorFeatures vector_features();  // of this processor, as far as the system lets programs use them

// A core as OPENBLAS_CORETYPE names it, where OpenBLAS chose one without AVX although there is better;
// nullptr where its choice stands.
const char* better_blas_core(std::string_view chosen, const VectorFeatures& features);

// Lets OpenBLAS choose again where that is better, and tells whether it did. It does nothing where the
// products are another library's, where OPENBLAS_CORETYPE is set, and in a process of several threads: one of
// them could be multiplying.
bool use_better_blas_core();

}  // namespace vlm
