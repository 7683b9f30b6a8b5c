// oneDNN's matrix products with weights packed beforehand, as yardsticks. Without oneDNN there are none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vlm::bench {

enum class OneDnnKind { f32, s8s8, u8s8 };

std::string onednn_version();            // "2.6.3", or "not there"
std::vector<OneDnnKind> onednn_kinds();  // that this build can run
const char* onednn_name(OneDnnKind kind);
// Runs y[rows, out] = x[rows, in] . W on made-up values of its own: 8 bits to 32-bit sums, or float32.
std::function<void()> onednn_product(OneDnnKind kind, int64_t rows, int64_t in, int64_t out);

}  // namespace vlm::bench
