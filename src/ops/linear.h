// Matrix products with weights of any precision.
#pragma once

#include <cstddef>
#include <span>

#include "ops/activation.h"
#include "tensor/tensor.h"

namespace vlm::ops {

// The weights of one matrix [out, in], in the precision they are kept in. Exactly one of `dense` and `packed`
// is set.
struct PackedMatrix;  // quantised weights in the kernels' own layout
struct Matrix {
  Tensor dense;  // float32, bfloat16 or float16 [out, in]
  std::shared_ptr<const PackedMatrix> packed;
  int64_t out = 0;
  int64_t in = 0;
};

Matrix dense_matrix(Tensor weight_OI);
// Quantises along the input, a multiple of 8 long: 8 bits rotated (kernels/rotation.h) with a scale for 256
// inputs, 4 bits with scale and minimum for 32.
Matrix quantise_matrix(const Tensor& weight_OI, int bits);
// From a file's own groups: quants int8 [out, in] or uint8 [out, in / 2], scales and minimums [out,
// groups]: all of one length, or all of 32 but the last.
Matrix pack_matrix(const Tensor& quants, const Tensor& scales, const Tensor& minimums);
Tensor unpack_matrix(const Matrix& matrix);  // float32 [out, in]

// A quantised matrix in two steps: one that has its sizes alone, and nothing may be computed with, ...
Matrix unfilled_matrix(int64_t out, int64_t in, int bits);
struct PackedSizes {
  int64_t blocks_bytes = 0;
  int64_t row_scales = 0;  // floats
};
PackedSizes packed_sizes(const Matrix& matrix);
// ... what quantise_matrix() would make of the weights, into memory of the caller's (`blocks` 64-byte
// aligned), ...
void quantise_into(const Tensor& weight_OI, const Matrix& matrix, void* blocks, float* row_scales);
// ... and where it lies from now on, in this matrix and all its copies; `owner` keeps that alive. Not while
// the matrix is in use.
void place_matrix(const Matrix& matrix, std::span<const std::byte> blocks, const float* row_scales,
                  std::shared_ptr<const void> owner);
// Of the kernels' layout, for files that keep it.
int64_t layout_version();
// Weights rounded as a file keeps them (weights/weights.h, GroupQuantised), in groups of 32: {quants, scales,
// minimums or undefined}, 8 bits symmetric, 4 bits with minimums. importance float32 [in]: how much an
// input's errors count; undefined: all the same.
std::array<Tensor, 3> round_to_groups(const Tensor& weight_OI, int bits, const Tensor& importance_I);
int64_t matrix_bytes(const Matrix& matrix);

// y[..., out] = act(x[..., in] . W^T + bias). float32 in and out; differentiable in x, and in a dense float32
// W. Many rows are activated where they are added up, which spares memory a pass.
Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias, Act act = Act::identity);

// The same of one x with each of several matrices of as many inputs; biases may be undefined. Where all are
// quantised to the same bits, x is rounded once.
struct LinearArgs {
  const Matrix* weight = nullptr;
  Tensor bias;
};
std::vector<Tensor> linear_together(const Tensor& x, std::span<const LinearArgs> layers);
// act(gate) * up, of two matrices of as many outputs.
Tensor linear_gated(const Tensor& x, const LinearArgs& gate, const LinearArgs& up, Act act);

// Whether fused kernels are used at all: VLM_KERNELS=off in the environment, or set_kernels_enabled(false).
bool kernels_enabled();
void set_kernels_enabled(bool enabled);

}  // namespace vlm::ops
