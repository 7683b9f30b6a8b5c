#include "ops/linear.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu.h"
#include "kernels/product.h"
#include "ops/choose.h"
#include "ops/function.h"
#include "tensor/group_layout.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

struct PackedMatrix {
  kernels::QuantisedMatrix view;  // `blocks` null: not filled yet
  std::shared_ptr<const void> owner;
};

namespace {

static_assert(kernels::kGroup == kGroupSize);

std::atomic<bool>& kernels_switch() {
  static std::atomic<bool> enabled = kernels::level_from_environment() != kernels::Level::off;
  return enabled;
}

// What weights are rounded to here: 8 bits rotated, 4 bits with minimums.
kernels::QuantisedMatrix usual_form(int bits, int64_t out, int64_t in) {
  return {bits, bits == 4, out, in, nullptr, nullptr, bits == 8};
}
// What files keep: groups of 32 as they are.
kernels::QuantisedMatrix form_of_files(int bits, bool has_minimums, int64_t out, int64_t in) {
  return {bits, has_minimums, out, in, nullptr, nullptr, false};
}

std::shared_ptr<PackedMatrix> empty_packed(const kernels::QuantisedMatrix& form) {
  auto packed = std::make_shared<PackedMatrix>();
  packed->view = form;
  kernels::QuantisedMatrix& view = packed->view;
  Tensor blocks = at::empty({view.blocks_bytes()}, at::kByte);
  Tensor row_scales = at::empty({view.padded_out()}, at::kFloat);
  view.blocks = blocks.data_ptr<uint8_t>();
  view.row_scales = row_scales.data_ptr<float>();
  packed->owner = std::make_shared<std::pair<Tensor, Tensor>>(blocks, row_scales);
  return packed;
}

Matrix matrix_of(std::shared_ptr<const PackedMatrix> packed) {
  Matrix matrix;
  matrix.out = packed->view.out;
  matrix.in = packed->view.in;
  matrix.packed = std::move(packed);
  return matrix;
}

kernels::Float float_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kernels::Float::f32;
    case at::kBFloat16:
      return kernels::Float::bf16;
    case at::kHalf:
      return kernels::Float::f16;
    default:
      fail(ErrorKind::internal, "", "a matrix of {}", dtype_name(type));
  }
}

tally::Work work_of(const Matrix& weight, int64_t rows) {
  tally::Work work{.bytes = static_cast<double>(matrix_bytes(weight))};
  double operations = 2.0 * static_cast<double>(rows) * static_cast<double>(weight.out * weight.in);
  if (weight.packed)
    (weight.packed->view.bits == 8 ? work.byte_operations : work.nibble_operations) = operations;
  else
    (weight.dense.scalar_type() == at::kFloat ? work.float_operations : work.half_operations) = operations;
  return work;
}

Tensor with_contiguous_rows(const Tensor& tensor) {
  return tensor.stride(1) == 1 || tensor.size(1) <= 1 ? tensor : tensor.contiguous();
}

void check_quantisable(int64_t in, int bits) {
  VLM_CHECK(bits == 8 || bits == 4, "{} bits", bits);
  VLM_CHECK(in % 8 == 0, "{} inputs in groups of {}", in, kGroupSize);
}

void quantise_rows(const Tensor& weight_OI, const Tensor& importance_I,
                   const kernels::QuantisedMatrix& view) {
  Tensor rows = with_contiguous_rows(weight_OI.detach());
  Tensor importance = importance_I.defined() ? importance_I.to(at::kFloat).contiguous() : Tensor();
  if (importance.defined()) VLM_SHAPE(importance, view.in);
  kernels::quantise(rows.data_ptr(), float_type(rows.scalar_type()), rows.stride(0), view,
                    importance.defined() ? importance.data_ptr<float>() : nullptr);
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

Matrix quantise_matrix(const Tensor& weight_OI, int bits) {
  VLM_SHAPE(weight_OI, kAny, kAny);
  check_quantisable(weight_OI.size(1), bits);
  auto packed = empty_packed(usual_form(bits, weight_OI.size(0), weight_OI.size(1)));
  quantise_rows(weight_OI, Tensor(), packed->view);
  return matrix_of(std::move(packed));
}

Matrix unfilled_matrix(int64_t out, int64_t in, int bits) {
  check_quantisable(in, bits);
  auto packed = std::make_shared<PackedMatrix>();
  packed->view = usual_form(bits, out, in);
  return matrix_of(std::move(packed));
}

PackedSizes packed_sizes(const Matrix& matrix) {
  VLM_CHECK(matrix.packed != nullptr, "not a quantised matrix");
  return {matrix.packed->view.blocks_bytes(), matrix.packed->view.padded_out()};
}

void quantise_into(const Tensor& weight_OI, const Matrix& matrix, void* blocks, float* row_scales) {
  VLM_SHAPE(weight_OI, matrix.out, matrix.in);
  kernels::QuantisedMatrix view = matrix.packed->view;
  view.blocks = static_cast<uint8_t*>(blocks);
  view.row_scales = row_scales;
  quantise_rows(weight_OI, Tensor(), view);
}

void place_matrix(const Matrix& matrix, std::span<const std::byte> blocks, const float* row_scales,
                  std::shared_ptr<const void> owner) {
  // Made by unfilled_matrix(), hence not const itself; copies of the matrix share it.
  auto& packed = const_cast<PackedMatrix&>(*matrix.packed);
  VLM_CHECK(static_cast<int64_t>(blocks.size()) == packed.view.blocks_bytes(), "{} of {} bytes",
            blocks.size(), packed.view.blocks_bytes());
  packed.view.blocks = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(blocks.data()));
  packed.view.row_scales = const_cast<float*>(row_scales);
  packed.owner = std::move(owner);
}

int64_t layout_version() {
  return kernels::kLayoutVersion;
}

Matrix pack_matrix(const Tensor& quants, const Tensor& scales, const Tensor& minimums) {
  bool is_int4 = quants.scalar_type() == at::kByte;
  int64_t out = quants.size(0), in = is_int4 ? quants.size(1) * 2 : quants.size(1);
  VLM_SHAPE(scales, out, kAny);
  int64_t length = group_length(in, scales.size(1));
  VLM_CHECK(length > 0, "{} inputs in {} groups", in, scales.size(1));
  if (in % 8 != 0) return dense_matrix(dequantise_groups(quants, scales, minimums));
  if (length % kGroupSize != 0) {  // groups of 16 (K-quants of 2, 3 and 6 bits) are rounded again, to 8 bits
    auto packed = empty_packed(form_of_files(8, false, out, in));
    quantise_rows(dequantise_groups(quants, scales, minimums), Tensor(), packed->view);
    return matrix_of(std::move(packed));
  }
  auto packed = empty_packed(form_of_files(is_int4 ? 4 : 8, minimums.defined(), out, in));
  Tensor values = quants.contiguous(), scale = scales.to(at::kFloat).contiguous();
  Tensor minimum = minimums.defined() ? minimums.to(at::kFloat).contiguous() : minimums;
  kernels::pack_groups(values.data_ptr(), scale.data_ptr<float>(),
                       minimum.defined() ? minimum.data_ptr<float>() : nullptr, scale.size(1), packed->view);
  return matrix_of(std::move(packed));
}

Tensor unpack_matrix(const Matrix& matrix) {
  if (matrix.dense.defined()) return matrix.dense.to(at::kFloat);
  Tensor weights = at::empty({matrix.out, matrix.in}, at::kFloat);
  kernels::dequantise(matrix.packed->view, weights.data_ptr<float>());
  return weights;
}

std::array<Tensor, 3> round_to_groups(const Tensor& weight_OI, int bits, const Tensor& importance_I) {
  VLM_SHAPE(weight_OI, kAny, kAny);
  check_quantisable(weight_OI.size(1), bits);
  auto packed = empty_packed(form_of_files(bits, bits == 4, weight_OI.size(0), weight_OI.size(1)));
  const kernels::QuantisedMatrix& view = packed->view;
  quantise_rows(weight_OI, importance_I, view);
  Tensor quants = view.bits == 8 ? at::empty({view.out, view.in}, at::kChar)
                                 : at::empty({view.out, view.in / 2}, at::kByte);
  Tensor scales = at::empty({view.out, view.groups()}, at::kFloat);
  Tensor minimums = view.has_minimums ? at::empty_like(scales) : Tensor();
  kernels::unpack_groups(view, quants.data_ptr(), scales.data_ptr<float>(),
                         minimums.defined() ? minimums.data_ptr<float>() : nullptr);
  return {quants, scales, minimums};
}

int64_t matrix_bytes(const Matrix& matrix) {
  const Tensor& dense = matrix.dense;
  if (dense.defined()) return dense.numel() * static_cast<int64_t>(dense.element_size());
  const kernels::QuantisedMatrix& view = matrix.packed->view;
  return view.blocks_bytes() + view.padded_out() * static_cast<int64_t>(sizeof(float));
}

namespace {

// Rows of x for a kernel, and what it writes.
struct Operands {
  Tensor flat, y, bias;
  kernels::Product product;
};
Operands operands_of(const Tensor& x, int64_t rows, const Matrix& weight, const Tensor& bias, Act act) {
  VLM_CHECK(x.size(-1) == weight.in, "x is {}, the matrix has {} inputs", describe(x), weight.in);
  if (bias.defined()) VLM_SHAPE(bias, weight.out);
  Operands operands;
  operands.flat = with_contiguous_rows(x.reshape({rows, weight.in}));
  Shape shape = x.sizes().vec();
  shape.back() = weight.out;
  operands.y = empty_result(shape);
  operands.bias = bias.defined() ? bias.contiguous() : bias;
  operands.product = {operands.flat.data_ptr<float>(),
                      operands.flat.stride(0),
                      operands.y.data_ptr<float>(),
                      weight.out,
                      rows,
                      operands.bias.defined() ? operands.bias.data_ptr<float>() : nullptr,
                      function_of(act)};
  return operands;
}

// Whether kernels may multiply x by all of the matrices, rounded once.
bool is_one_rounding(const Tensor& x, std::span<const LinearArgs> layers) {
  const Matrix& first = *layers.front().weight;
  return x.numel() > 0 && use_kernel({x}) &&
         std::all_of(layers.begin(), layers.end(), [&](const LinearArgs& layer) {
           const Matrix& weight = *layer.weight;
           return weight.packed && weight.in == first.in && use_kernel({layer.bias}) &&
                  weight.packed->view.bits == first.packed->view.bits &&
                  weight.packed->view.is_rotated == first.packed->view.is_rotated;
         });
}

// The products of a kernel call, in order; the last one's outputs are act(...), times those before it if it
// is a gate.
std::vector<Tensor> multiply_together(const Tensor& x, std::span<const LinearArgs> layers, Act act,
                                      bool is_gated) {
  const Matrix& first = *layers.front().weight;
  const int64_t rows = x.numel() / first.in;
  tally::Span span("products");
  if (span) {
    int64_t out = 0;
    tally::Work work{};
    for (const LinearArgs& layer : layers) {
      work += work_of(*layer.weight, rows);
      out += layer.weight->out;
    }
    span.add(work, fmt::format("{} x {} x {}", rows, first.in, out));
  }
  std::vector<Operands> operands;
  std::vector<kernels::QuantisedProduct> products;
  std::vector<Tensor> results;
  for (const LinearArgs& layer : layers) {
    const bool is_last = &layer == &layers.back();
    operands.push_back(operands_of(x, rows, *layer.weight, layer.bias, is_last ? act : Act::identity));
    kernels::Product& product = operands.back().product;
    if (is_last && is_gated) {
      product.factor = results.back().data_ptr<float>();
      product.factor_stride = layer.weight->out;
    }
    products.push_back({product, &layer.weight->packed->view});
    results.push_back(operands.back().y);
  }
  (rows <= kernels::few_rows_of(first.packed->view) ? kernels::few_rows_quantised_together
                                                    : kernels::many_rows_quantised_together)(products);
  return results;
}

}  // namespace

Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias, Act act) {
  bool is_float = weight.dense.defined() && weight.dense.scalar_type() == at::kFloat;
  int64_t rows = weight.in > 0 ? x.numel() / weight.in : 0;
  bool is_few = rows <= (weight.packed ? kernels::few_rows_of(weight.packed->view) : kernels::kFewRows);
  tally::Span span("products");
  if (span) span.add(work_of(weight, rows), fmt::format("{} x {} x {}", rows, weight.in, weight.out));
  if (!use_kernel({x, bias, weight.dense.requires_grad() ? weight.dense : Tensor()}) || rows == 0 ||
      (is_float && !is_few))
    return activate(at::linear(x, unpack_matrix(weight), bias), act);

  Operands operands = operands_of(x, rows, weight, bias, act);
  const kernels::Product& product = operands.product;
  if (weight.packed) {
    (is_few ? kernels::few_rows_quantised : kernels::many_rows_quantised)(product, weight.packed->view);
  } else {
    Tensor dense = with_contiguous_rows(weight.dense);
    kernels::DenseMatrix matrix{dense.data_ptr(), float_type(dense.scalar_type()), weight.out, weight.in,
                                dense.stride(0)};
    (is_few ? kernels::few_rows_dense : kernels::many_rows_dense)(product, matrix);
  }
  return operands.y;
}

std::vector<Tensor> linear_together(const Tensor& x, std::span<const LinearArgs> layers) {
  if (is_one_rounding(x, layers)) return multiply_together(x, layers, Act::identity, false);
  std::vector<Tensor> results;
  for (const LinearArgs& layer : layers) results.push_back(linear(x, *layer.weight, layer.bias));
  return results;
}

Tensor linear_gated(const Tensor& x, const LinearArgs& gate, const LinearArgs& up, Act act) {
  VLM_CHECK(gate.weight->out == up.weight->out, "a gate of {} for {} numbers", gate.weight->out,
            up.weight->out);
  const LinearArgs layers[] = {up, gate};
  if (is_one_rounding(x, layers)) return multiply_together(x, layers, act, true).back();
  return gated(linear(x, *gate.weight, gate.bias), linear(x, *up.weight, up.bias), act);
}

}  // namespace vlm::ops
