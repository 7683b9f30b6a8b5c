// What computes on this machine, in words.
#pragma once

#include <string>

namespace vlm::ops {

// "AVX3_DL (compiled: AVX3_DL, AVX3, AVX2, SCALAR)", or that kernels are off.
std::string kernels_text();

}  // namespace vlm::ops
