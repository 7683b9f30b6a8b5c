#include "ops/linear.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace vlm::ops {

struct PackedMatrix {
  Tensor quants;    // int8 [out, in] or uint8 [out, in / 2]
  Tensor scales;    // float32 [out, in / group]
  Tensor minimums;  // float32 [out, in / group] or undefined
};

namespace {

constexpr int64_t kGroup = 32;

std::atomic<bool>& kernels_switch() {
  static std::atomic<bool> enabled = [] {
    const char* word = std::getenv("VLM_KERNELS");
    return !(word && std::string_view(word) == "off");
  }();
  return enabled;
}

}  // namespace

bool kernels_enabled() {
  return kernels_switch();
}
void set_kernels_enabled(bool enabled) {
  kernels_switch() = enabled;
}

Matrix dense_matrix(Tensor weight_OI) {
  VLM_SHAPE(weight_OI, kAny, kAny);
  Matrix matrix;
  matrix.out = weight_OI.size(0);
  matrix.in = weight_OI.size(1);
  matrix.dense = std::move(weight_OI);
  return matrix;
}

Matrix pack_matrix(const Tensor& quants, const Tensor& scales, const Tensor& minimums) {
  bool is_int4 = quants.scalar_type() == at::kByte;
  Matrix matrix;
  matrix.out = quants.size(0);
  matrix.in = is_int4 ? quants.size(1) * 2 : quants.size(1);
  matrix.packed = std::make_shared<const PackedMatrix>(PackedMatrix{quants, scales, minimums});
  return matrix;
}

Matrix quantise_matrix(const Tensor& weight_OI, int bits) {
  VLM_SHAPE(weight_OI, kAny, kAny);
  VLM_CHECK(bits == 8 || bits == 4, "{} bits", bits);
  int64_t out = weight_OI.size(0), in = weight_OI.size(1);
  VLM_CHECK(in % kGroup == 0, "{} inputs in groups of {}", in, kGroup);
  Tensor groups = weight_OI.detach().to(at::kFloat).view({out, in / kGroup, kGroup});
  if (bits == 8) {
    Tensor scales = groups.abs().amax(2) / 127;
    Tensor quants = (groups / scales.clamp_min(1e-30).unsqueeze(2)).round().to(at::kChar);
    return pack_matrix(quants.view({out, in}), scales, Tensor());
  }
  Tensor minimums = groups.amin(2);
  Tensor scales = (groups.amax(2) - minimums) / 15;
  Tensor quants = ((groups - minimums.unsqueeze(2)) / scales.clamp_min(1e-30).unsqueeze(2))
                      .round()
                      .clamp(0, 15)
                      .to(at::kByte)
                      .view({out, in / 2, 2});
  return pack_matrix(quants.select(2, 0).bitwise_or(quants.select(2, 1).__lshift__(4)), scales, minimums);
}

Tensor unpack_matrix(const Matrix& matrix) {
  if (matrix.dense.defined()) return matrix.dense.to(at::kFloat);
  const PackedMatrix& packed = *matrix.packed;
  Tensor quants = packed.quants;
  if (quants.scalar_type() == at::kByte)
    quants = at::stack({quants.bitwise_and(15), quants.__rshift__(4)}, 2);
  int64_t groups = packed.scales.size(1);
  Tensor values = quants.to(at::kFloat).view({matrix.out, groups, matrix.in / groups}) *
                  packed.scales.to(at::kFloat).unsqueeze(2);
  if (packed.minimums.defined()) values = values + packed.minimums.to(at::kFloat).unsqueeze(2);
  return values.view({matrix.out, matrix.in});
}

std::array<Tensor, 3> groups_of(const Matrix& matrix) {
  VLM_CHECK(matrix.packed != nullptr, "not a quantised matrix");
  return {matrix.packed->quants, matrix.packed->scales, matrix.packed->minimums};
}

int64_t matrix_bytes(const Matrix& matrix) {
  auto bytes = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) : 0;
  };
  if (!matrix.packed) return bytes(matrix.dense);
  return bytes(matrix.packed->quants) + bytes(matrix.packed->scales) + bytes(matrix.packed->minimums);
}

Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias) {
  return at::linear(x, unpack_matrix(weight), bias);
}

}  // namespace vlm::ops
