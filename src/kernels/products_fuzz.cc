// libFuzzer target: products and quantised matrices against plain loops.
#include "base/half.h"
#include "kernels/definitions.h"
#include "kernels/fuzzing.h"
#include "kernels/product.h"
#include "kernels/product_testing.h"
#include "kernels/row_scale.h"

namespace vlm::kernels {
namespace {

constexpr int64_t kMostOperations = 1 << 19;

struct Sizes {
  int64_t rows, out, in;
};

// `few`: rows at most, of any number if 0; `step`: what inputs come in.
Sizes choose_sizes(Choices& choices, int64_t few, int64_t step) {
  Sizes sizes{};
  sizes.in = choices.size("inputs", 1400 / step) * step;
  sizes.out = choices.size("outputs", 300);
  sizes.rows = few > 0 ? 1 + choices.below("rows", few) : choices.size("rows", 130);
  sizes.in = std::min(sizes.in, std::max(kMostOperations / (sizes.rows * sizes.out) / step * step, step));
  return sizes;
}

// x, bias and y of one product, as callers lay them out.
struct Operands {
  Operands(Choices& choices, const Sizes& sizes, float most)
      : x_stride(sizes.in + choices.below("x gap", 4)),
        x(filled(choices, (sizes.rows - 1) * x_stride + sizes.in, most, true)),
        bias(filled(choices, choices.flag("bias") ? sizes.out : 0, most)),
        y_stride(sizes.out + choices.below("y gap", 4)),
        y(sizes.rows, sizes.out, y_stride, choices.below("y shift", 4)) {
    product = {x.data(), x_stride, y.data(), y_stride, sizes.rows, bias.size() > 0 ? bias.data() : nullptr};
  }
  const float* x_row(int64_t row) const { return x.data() + row * x_stride; }

  int64_t x_stride;
  Floats x, bias;
  int64_t y_stride;
  Guarded<float> y;
  Product product;
};

struct Sum {
  double value = 0, magnitude = 0;  // of all finite terms
  void add(double term) {
    value += term;
    if (std::isfinite(term)) magnitude += std::fabs(term);
  }
};

// Values as `type` holds them, rounded in place.
std::vector<uint16_t> as_halves(Float type, Floats& values) {
  std::vector<uint16_t> halves;
  for (int64_t idx = 0; idx < values.size() && type != Float::f32; ++idx) {
    halves.push_back(type == Float::bf16 ? float_to_bf16(values[idx]) : float_to_half(values[idx]));
    values[idx] = type == Float::bf16 ? bf16_to_float(halves.back()) : half_to_float(halves.back());
  }
  return halves;
}

void fuzz_dense(Choices& choices) {
  const bool is_few = choices.flag("few");
  const Float type = choices.of("type", {Float::f32, Float::bf16, Float::f16});
  const Sizes sizes = choose_sizes(choices, is_few ? kFewRows : 0, 1);
  const int64_t stride = sizes.in + choices.below("gap", 4);
  Floats weights =
      filled(choices, (sizes.out - 1) * stride + sizes.in, type == Float::f16 ? 6e4f : 1e15f, true);
  // Beside bfloat16 weights many rows may be rounded, and what is below the least normal number be 0.
  const bool is_rounded = !is_few && type == Float::bf16;
  auto flush = [](Floats& values) {
    for (int64_t idx = 0; idx < values.size(); ++idx)
      if (std::fabs(values[idx]) < 0x1p-126f) values[idx] = 0.0f;
  };
  if (is_rounded) flush(weights);
  const std::vector<uint16_t> halves = as_halves(type, weights);
  Operands operands(choices, sizes, 1e15f);
  if (is_rounded) {
    flush(operands.x);
    as_halves(type, operands.x);
  }
  const void* data = type == Float::f32 ? static_cast<const void*>(weights.data()) : halves.data();
  (is_few ? few_rows_dense : many_rows_dense)(operands.product, {data, type, sizes.out, sizes.in, stride});
  operands.y.check();
  for (int64_t row = 0; row < sizes.rows; ++row)
    for (int64_t col = 0; col < sizes.out; ++col) {
      Sum sum;
      for (int64_t idx = 0; idx < sizes.in; ++idx)
        sum.add(static_cast<double>(operands.x_row(row)[idx]) * weights[col * stride + idx]);
      if (operands.product.bias) sum.add(operands.bias[col]);
      // Each term is rounded, and so is every sum it enters: at most one for each term and the bias.
      const double roundings = static_cast<double>(sizes.in) + 2, least = is_rounded ? 0x1p-126 : kLeast;
      expect_near(operands.y.row(row)[col], sum.value, roundings * (kUnit * sum.magnitude + least), "y", row,
                  col);
    }
}

// A matrix as a file holds it.
struct Groups {
  explicit Groups(const QuantisedMatrix& of)
      : matrix(of),
        quants(static_cast<size_t>(of.out * of.in * of.bits / 8)),
        scales(of.out * of.groups()),
        minimums(of.has_minimums ? of.out * of.groups() : 0) {}
  double quant(int64_t row, int64_t idx) const {
    const size_t at = static_cast<size_t>(row * matrix.in + idx);
    if (matrix.bits == 8) return static_cast<int8_t>(quants[at]);
    return quants[at / 2] >> (at % 2 * 4) & 15;
  }
  double scale(int64_t row, int64_t group) const { return scales[row * matrix.groups() + group]; }
  double minimum(int64_t row, int64_t group) const {
    return matrix.has_minimums ? minimums[row * matrix.groups() + group] : 0.0;
  }

  QuantisedMatrix matrix;
  std::vector<uint8_t> quants;
  Floats scales, minimums;
};

Groups unpacked(const QuantisedMatrix& matrix) {
  Groups groups(matrix);
  unpack_groups(matrix, groups.quants.data(), groups.scales.data(),
                matrix.has_minimums ? groups.minimums.data() : nullptr);
  return groups;
}

// A place of float16, where numbers of a row are multiples of its scale.
double half_place(double value, double row_scale) {
  return std::max(std::fabs(value) * 0x1p-10, 0x1p-24 * row_scale);
}

// A file's matrix goes in and comes out again.
Memory packed_matrix(Choices& choices, QuantisedMatrix shape) {
  Memory memory(shape);
  Groups from(shape);
  std::minstd_rand generator(static_cast<unsigned>(choices.below("quants", 1 << 16)) + 1);
  const bool is_extreme = choices.flag("extremes");
  for (uint8_t& byte : from.quants)
    byte = static_cast<uint8_t>(is_extreme ? (generator() % 2 ? 0x80 : 0x7f) : generator() >> 8);
  fill(choices, from.scales, 1e15f);
  if (shape.has_minimums) fill(choices, from.minimums, 1e15f);
  pack_groups(from.quants.data(), from.scales.data(), shape.has_minimums ? from.minimums.data() : nullptr,
              shape.groups(), memory.view);
  const Groups back = unpacked(memory.view);
  for (int64_t row = 0; row < shape.out; ++row)
    for (int64_t group = 0; group < shape.groups(); ++group) {
      const double row_scale = memory.view.row_scales[row], minimum = from.minimum(row, group);
      const double scale = from.scale(row, group), off = half_place(scale, row_scale);
      expect_near(back.minimum(row, group), minimum,
                  half_place(minimum, row_scale) + half_place(0, std::fabs(scale)), "minimum", row, group);
      // Nothing is left of quants whose scale is so small beside the minimum.
      if (std::fabs(minimum) >= (kMostSteps - 1) * (std::fabs(scale) - off)) continue;
      expect_near(back.scale(row, group), scale, off, "scale", row, group);
      for (int64_t idx = group * kGroup; idx < group * kGroup + shape.inputs_of(group); ++idx)
        if (back.quant(row, idx) != from.quant(row, idx)) Choices::fail("quants do not come back");
    }
  return memory;
}

// The squared error, each weight by its importance, of a group's values on 15 equal steps over their range,
// or on 127 on each side of zero.
double plain_error(const float* values, int64_t count, int bits, const float* importance) {
  const auto [low, high] = std::minmax_element(values, values + count);
  const double largest = std::max(std::fabs(*low), std::fabs(*high)), start = bits == 8 ? 0.0 : *low;
  const double step = bits == 8 ? largest / 127 : (static_cast<double>(*high) - *low) / 15;
  double error = 0;
  for (int64_t idx = 0; idx < count && step > 0; ++idx) {
    const double off = std::nearbyint((values[idx] - start) / step) * step + start - values[idx];
    error += (importance ? importance[idx] : 1.0) * off * off;
  }
  return error;
}

// Every quant is the nearest on the line that the block holds, and the line is no worse than the plain one.
void check_group(const Groups& groups, int64_t row, int64_t group, const float* values,
                 const float* importance) {
  const QuantisedMatrix& matrix = groups.matrix;
  const int64_t count = matrix.inputs_of(group);
  const double scale = groups.scale(row, group), minimum = groups.minimum(row, group);
  const auto [low, high] = std::minmax_element(values, values + count);
  const double start = matrix.bits == 8 ? 0.0 : *low, width = static_cast<double>(*high) - start;
  const double largest = std::max(std::fabs(*low), std::fabs(*high));
  double error = 0, squares = 0, total = 0, most = 0;
  for (int64_t idx = 0; idx < count; ++idx) {
    const double quant = groups.quant(row, group * kGroup + idx), off = quant * scale + minimum - values[idx];
    // The value and the line's start are taken relative to the least value, and what is left is rounded
    // when it is divided by the scale: six roundings.
    const double slack = 6 * kUnit * (std::fabs(values[idx] - start) + std::fabs(minimum - start)) + kLeast;
    const bool is_lowest = quant == (matrix.bits == 8 ? -127 : 0),
               is_highest = quant == (matrix.bits == 8 ? 127 : 15);
    const double nearest = 0.5 * std::fabs(scale) + slack;
    if (!(std::fabs(off) <= nearest || (is_lowest && off > 0) || (is_highest && off < 0) || scale == 0))
      Choices::fail(
          fmt::format("weight [{}, {}] {:.9g} is not at its nearest quant {} of {:.9g}, from {:.9g}", row,
                      group * kGroup + idx, values[idx], quant, scale, minimum));
    const double weight = importance ? importance[idx] : 1.0;
    error += weight * off * off;
    squares += weight * (values[idx] - start) * (values[idx] - start);
    total += weight;
    most = std::max(most, weight);
  }
  if (matrix.bits == 8 && !importance)
    expect_near(scale, largest / 127, half_place(largest / 127, matrix.row_scales[row]), "scale", row, group);
  // Errors in float32 must neither vanish nor overflow. With unequal importance the fit of a line may lose
  // all its digits (its determinant is a difference); it is then compared with nothing.
  if (largest > 1e15 || largest < 1e-12 || most > 1e6 || (importance && matrix.bits == 4)) return;
  // By how much float32 may misjudge a candidate: 8 bits, two sums of up to 32 terms, one of them squared; 4
  // bits, the solution of two equations in such sums, whose determinant is at least 84 times the count.
  const double misjudged = matrix.bits == 8 ? 140 * kUnit * squares : 0.02 * width * width;
  // Minimums are whole eighths of the scale.
  const double of_halves =
      (matrix.bits == 8 ? 127 : 15) * half_place(scale, matrix.row_scales[row]) +
      (matrix.bits == 8 ? 0 : std::max(std::fabs(scale) / 16, half_place(minimum, matrix.row_scales[row])));
  const double plain = plain_error(values, count, matrix.bits, importance);
  if (std::sqrt(error) > std::sqrt(plain + misjudged) + std::sqrt(total) * of_halves + kUnit * largest)
    Choices::fail(fmt::format("group [{}, {}] has an error of {:.6g}, the plain range {:.6g}", row, group,
                              error, plain));
}

// Weights are rounded, and come back close.
Memory quantised_matrix(Choices& choices, QuantisedMatrix shape) {
  Memory memory(shape);
  const Float type = choices.of("type", {Float::f32, Float::bf16, Float::f16});
  const int64_t stride = shape.in + choices.below("gap", 4);
  Floats weights = filled(choices, (shape.out - 1) * stride + shape.in, type == Float::f16 ? 6e4f : 1e15f);
  const std::vector<uint16_t> halves = as_halves(type, weights);
  Floats importance = filled(choices, choices.flag("importance") ? shape.in : 0, 1e6f);
  for (int64_t idx = 0; idx < importance.size(); ++idx) importance[idx] = std::fabs(importance[idx]);
  const float* importance_or_null = importance.size() > 0 ? importance.data() : nullptr;
  quantise(type == Float::f32 ? static_cast<const void*>(weights.data()) : halves.data(), type, stride,
           memory.view, importance_or_null);
  const Groups groups = unpacked(memory.view);
  for (int64_t row = 0; row < shape.out; ++row)
    for (int64_t group = 0; group < shape.groups(); ++group)
      check_group(groups, row, group, weights.data() + row * stride + group * kGroup,
                  importance_or_null ? importance_or_null + group * kGroup : nullptr);
  if (type != Float::f32) {  // 16-bit weights give what their floats give
    Memory again(shape);
    quantise(weights.data(), Float::f32, stride, again.view, importance_or_null);
    if (!std::equal(memory.view.blocks, memory.view.blocks + shape.blocks_bytes(), again.view.blocks))
      Choices::fail("16-bit weights give other blocks than their floats");
  }
  return memory;
}

void check_dequantised(const QuantisedMatrix& matrix, const Groups& groups) {
  Guarded<float> weights(matrix.out, matrix.in, matrix.in, 1);
  dequantise(matrix, weights.data());
  weights.check();
  for (int64_t row = 0; row < matrix.out; ++row)
    for (int64_t idx = 0; idx < matrix.in; ++idx) {
      const double step = groups.quant(row, idx) * groups.scale(row, idx / kGroup);
      const double minimum = groups.minimum(row, idx / kGroup);
      expect_near(weights.row(row)[idx], step + minimum,
                  2 * kUnit * (std::fabs(step) + std::fabs(minimum)) + 2 * kLeast, "weight", row, idx);
    }
}

// Outputs of one finite row of x, rounded in groups as the matrix is.
void check_rounded(const Groups& groups, const Operands& operands, int64_t row) {
  const QuantisedMatrix& matrix = groups.matrix;
  const RoundedRow x = rounded(operands.x_row(row), matrix.in);
  for (int64_t col = 0; col < matrix.out; ++col) {
    Sum sum;
    for (int64_t group = 0; group < matrix.groups(); ++group) {
      double dot = 0, total = 0;
      for (int64_t idx = group * kGroup; idx < group * kGroup + matrix.inputs_of(group); ++idx) {
        const double quant = x.quants[static_cast<size_t>(idx)];
        dot += quant * groups.quant(col, idx);
        total += quant;
      }
      const double x_scale = x.scales[static_cast<size_t>(group)];
      sum.add(dot * groups.scale(col, group) * x_scale);
      sum.add(total * groups.minimum(col, group) * x_scale);
    }
    if (operands.product.bias) sum.add(operands.bias[col]);
    // Sums of a group are whole numbers and exact. Two products, and one sum or two for each group; then
    // the row's scale, exact as a power of two but where it takes the least numbers up, and the bias.
    const double roundings = 2 * static_cast<double>(matrix.groups()) + 6;
    const double row_scale = matrix.row_scales[col];
    if (sum.magnitude / std::min(1.0, row_scale) > kMostFloat) continue;
    expect_near(operands.y.row(row)[col], sum.value,
                roundings * (kUnit * sum.magnitude + kLeast * std::max(1.0, row_scale)), "y", row, col);
  }
}

// The same where both sides are rotated first, and `length` inputs of x share a scale; `weights`: one row for
// each output.
void check_rotated(const QuantisedMatrix& matrix, const std::vector<RotatedRow>& weights,
                   const Operands& operands, int64_t row, int64_t length) {
  const RotatedRow x = rotated_activations(operands.x_row(row), matrix.in, length);
  for (int64_t col = 0; col < matrix.out; ++col) {
    const RotatedProduct product = product_of(x, weights[static_cast<size_t>(col)], matrix.in);
    const double bias = operands.product.bias ? operands.bias[col] : 0.0;
    const double row_scale = matrix.row_scales[col], most = kLongGroup / 2.0;
    const double magnitude = product.magnitude + product.off + std::fabs(bias);
    if (most * magnitude / std::min(1.0, row_scale) > kMostFloat) continue;
    const double roundings = 2 * static_cast<double>(x.off.size()) + 8;
    expect_near(operands.y.row(row)[col], product.value + bias,
                product.off + roundings * (kUnit * magnitude + most * kLeast * std::max(1.0, row_scale)), "y",
                row, col);
  }
}

std::vector<RotatedRow> rotated_rows(const Groups& groups) {
  const QuantisedMatrix& matrix = groups.matrix;
  std::vector<RotatedRow> rows;
  for (int64_t row = 0; row < matrix.out; ++row) {
    std::vector<double> weights;
    for (int64_t idx = 0; idx < matrix.in; ++idx)
      weights.push_back(groups.quant(row, idx) * groups.scale(row, idx / kGroup) +
                        groups.minimum(row, idx / kGroup));
    rows.push_back(rotated_weights(weights.data(), groups.scales.data() + row * matrix.groups(), matrix.in,
                                   matrix.bits));
  }
  return rows;
}

// Sum of magnitudes of the long group that begins at `first`.
template <typename T>
double magnitude_of(const T* row, int64_t first, int64_t count) {
  double sum = 0;
  for (int64_t idx = first; idx < std::min(first + kLongGroup, count); ++idx)
    sum += std::fabs(static_cast<double>(row[idx]));
  return sum;
}

// Weights are rotated and rounded, and come back: each rotated number is within half a step of its group, and
// so the weights' errors squared are no more than all of these. (What fills up the last group is left out of
// the weights, and rotated again they are others.)
Memory rotated_matrix(Choices& choices, QuantisedMatrix shape) {
  shape.is_rotated = true;
  Memory memory(shape);
  const int64_t stride = shape.in + choices.below("gap", 4);
  const Floats weights = filled(choices, (shape.out - 1) * stride + shape.in, 1e15f);
  quantise(weights.data(), Float::f32, stride, memory.view);
  Guarded<float> kept(shape.out, shape.in, shape.in, 1);
  dequantise(memory.view, kept.data());
  kept.check();
  for (int64_t row = 0; row < shape.out; ++row) {
    const std::vector<double> wanted = rotated(weights.data() + row * stride, shape.in);
    const std::vector<double> found = rotated(kept.row(row), shape.in);
    for (int64_t first = 0; first < shape.in; first += kLongGroup) {
      const int64_t width = long_group_width(first, shape.in);
      const double length = rotated_length(width);
      double largest = 0;
      for (int64_t idx = first; idx < first + width; ++idx)
        largest = std::max(largest, std::fabs(wanted[static_cast<size_t>(idx)]));
      const double step = largest / 127, row_scale = memory.view.row_scales[row];
      // Sums of 128 are rounded seven times, here and back.
      const double slack = 8 * kUnit *
                           (magnitude_of(weights.data() + row * stride, first, shape.in) +
                            magnitude_of(wanted.data(), first, rotated_width(shape.in)));
      const double off =
          0.5 * step + 128 * length * half_place(step / length, row_scale) + slack + length * kLeast;
      for (int64_t idx = first; idx < first + width && first + width <= shape.in; ++idx)
        expect_near(found[static_cast<size_t>(idx)], wanted[static_cast<size_t>(idx)], off, "rotated weight",
                    row, idx);
      double error = 0;
      for (int64_t idx = first; idx < std::min(first + width, shape.in); ++idx)
        error += std::pow(kept.row(row)[idx] - static_cast<double>(weights[row * stride + idx]), 2);
      if (std::sqrt(error) > off * std::sqrt(static_cast<double>(width) / length))
        Choices::fail(fmt::format("group [{}, {}] has an error of {:.6g}, a step of {:.6g}", row,
                                  first / kLongGroup, std::sqrt(error), step));
    }
  }
  return memory;
}

std::vector<RotatedRow> rotated_rows(const QuantisedMatrix& matrix) {
  Floats weights(matrix.out * matrix.in);
  dequantise(matrix, weights.data());
  std::vector<RotatedRow> rows;
  for (int64_t row = 0; row < matrix.out; ++row)
    rows.push_back(rotated_row(weights.data() + row * matrix.in, matrix.in));
  return rows;
}

void fuzz_quantised(Choices& choices) {
  const bool is_few = choices.flag("few");
  const Sizes sizes = choose_sizes(choices, is_few ? kFewRowsQuantised : 0, 8);
  QuantisedMatrix shape{choices.of("bits", {8, 4}), false, sizes.out, sizes.in, nullptr, nullptr};
  const bool is_rounded_here = choices.flag("quantise");
  const bool is_kept_rotated = shape.bits == 8 && is_rounded_here && choices.flag("rotated");
  shape.has_minimums = is_rounded_here ? shape.bits == 4 : choices.flag("minimums");
  const Memory memory = is_kept_rotated   ? rotated_matrix(choices, shape)
                        : is_rounded_here ? quantised_matrix(choices, shape)
                                          : packed_matrix(choices, shape);
  const bool is_rotated = is_kept_rotated || (!is_few && are_many_rows_rotated());
  Groups groups(shape);
  std::vector<RotatedRow> weights;
  if (is_kept_rotated) {
    weights = rotated_rows(memory.view);
  } else {
    groups = unpacked(memory.view);
    check_dequantised(memory.view, groups);
    if (is_rotated) weights = rotated_rows(groups);
  }

  Operands operands(choices, sizes, 1e15f);
  (is_few ? few_rows_quantised : many_rows_quantised)(operands.product, memory.view);
  operands.y.check();
  for (int64_t row = 0; row < sizes.rows; ++row) {
    const float* x = operands.x_row(row);
    if (!std::all_of(x, x + sizes.in, [](float value) { return std::isfinite(value); })) {
      for (int64_t col = 0; col < sizes.out; ++col)
        if (std::isfinite(operands.y.row(row)[col]))
          Choices::fail(
              fmt::format("y [{}, {}] is {} of an infinite input", row, col, operands.y.row(row)[col]));
    } else if (is_rotated) {
      check_rotated(memory.view, weights, operands, row, is_few ? kGroup : kLongGroup);
    } else {
      check_rounded(groups, operands, row);
    }
  }
}

void fuzz(Choices& choices) {
  if (choices.flag("dense"))
    fuzz_dense(choices);
  else
    fuzz_quantised(choices);
}

}  // namespace
}  // namespace vlm::kernels

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::kernels::run_case(data, size, vlm::kernels::fuzz);
}
