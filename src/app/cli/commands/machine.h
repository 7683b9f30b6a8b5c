// What is known of the machine and of the libraries that compute.
#pragma once

#include <string>

namespace vlm::cli {

// The first value of a key in /proc/cpuinfo or /proc/meminfo; "" without one.
std::string value_of(const char* file, const std::string& key);
// The library that matrix products of the tensor library end in; its own words where it is OpenBLAS.
std::string blas_text();
std::string torch_version();
const char* source_commit();  // that this program was built from, or "unknown"

}  // namespace vlm::cli
