#include "kernels/product.h"

#include "base/half.h"
#include "kernels/definitions.h"
#include "kernels/product_testing.h"
#include "kernels/testing.h"
#include "kernels/tiles.h"

namespace vlm::kernels {
namespace {

// x rounded to 8 bits in groups of 32, as numbers.
std::vector<double> rounded_values(const float* x, int64_t count) {
  const RoundedRow row = rounded(x, count);
  std::vector<double> values;
  for (int64_t idx = 0; idx < count; ++idx) values.push_back(row.value(idx));
  return values;
}

// Sums in float32 of `in` terms: 3e-7 for each doubling of their number would be generous; all that is added
// up is at most `magnitude`.
void expect_product(const std::vector<double>& x, const float* weights, const float* bias, int64_t in,
                    int64_t out, const float* y) {
  for (int64_t col = 0; col < out; ++col) {
    double wanted = bias ? bias[col] : 0.0, magnitude = std::fabs(wanted);
    for (int64_t idx = 0; idx < in; ++idx) {
      double term = x[static_cast<size_t>(idx)] * weights[col * in + idx];
      wanted += term;
      magnitude += std::fabs(term);
    }
    ASSERT_NEAR(y[col], wanted, 1e-6 * magnitude + 1e-30) << "output " << col << " of " << out;
  }
}

// The same where both sides are rotated before they are rounded.
void expect_rotated_product(const RotatedRow& x, const std::vector<RotatedRow>& weights, int64_t in,
                            const float* bias, const float* y) {
  for (size_t col = 0; col < weights.size(); ++col) {
    const RotatedProduct wanted = product_of(x, weights[col], in);
    const double shift = bias ? bias[col] : 0.0;
    ASSERT_NEAR(y[col], wanted.value + shift,
                wanted.off + 1e-6 * (wanted.magnitude + std::fabs(shift)) + 1e-30)
        << "output " << col;
  }
}

std::vector<RotatedRow> rotated_rows(const QuantisedMatrix& matrix, const Floats& weights) {
  std::vector<RotatedRow> rows;
  if (matrix.is_rotated) {
    for (int64_t row = 0; row < matrix.out; ++row)
      rows.push_back(rotated_row(weights.data() + row * matrix.in, matrix.in));
    return rows;
  }
  const int64_t groups = matrix.groups();
  std::vector<uint8_t> quants(static_cast<size_t>(matrix.out * matrix.in * matrix.bits / 8));
  Floats scales(matrix.out * groups), minimums(matrix.out * groups);
  unpack_groups(matrix, quants.data(), scales.data(), matrix.has_minimums ? minimums.data() : nullptr);
  for (int64_t row = 0; row < matrix.out; ++row)
    rows.push_back(rotated_weights(weights.data() + row * matrix.in, scales.data() + row * groups, matrix.in,
                                   matrix.bits));
  return rows;
}

using Kernel = void (*)(const Product&, const QuantisedMatrix&);

// What a matrix may be kept as.
struct Form {
  int bits;
  bool is_rotated = false;
};
constexpr Form kForms[] = {{8}, {8, true}, {4}};

Memory quantised(const Floats& weights, const Form& form, int64_t out, int64_t in) {
  return quantised(weights, form.bits, out, in, form.is_rotated);
}

void check_quantised(Kernel kernel, const Memory& memory, int64_t rows, int64_t shift, bool has_bias) {
  const int64_t in = memory.view.in, out = memory.view.out, x_stride = in + 3, y_stride = out + 5;
  Floats x = Floats::random(rows * x_stride, 11, shift), bias = Floats::random(out, 12, shift);
  Floats y(rows * y_stride, shift), weights(out * in);
  for (int64_t idx = 0; idx < rows * y_stride; ++idx) y[idx] = 77.0f;
  dequantise(memory.view, weights.data());
  kernel({x.data(), x_stride, y.data(), y_stride, rows, has_bias ? bias.data() : nullptr}, memory.view);
  const bool is_rotated =
      memory.view.is_rotated || (kernel == many_rows_quantised && are_many_rows_rotated());
  const std::vector<RotatedRow> rotated =
      is_rotated ? rotated_rows(memory.view, weights) : std::vector<RotatedRow>();
  for (int64_t row = 0; row < rows; ++row) {
    const float *from = x.data() + row * x_stride, *to = y.data() + row * y_stride;
    if (is_rotated)
      expect_rotated_product(
          rotated_activations(from, in, kernel == many_rows_quantised ? kLongGroup : kGroup), rotated, in,
          has_bias ? bias.data() : nullptr, to);
    else
      expect_product(rounded_values(from, in), weights.data(), has_bias ? bias.data() : nullptr, in, out, to);
    for (int64_t gap = out; gap < y_stride; ++gap) ASSERT_EQ(y[row * y_stride + gap], 77.0f);
  }
}

TEST(FewRowsQuantised, IsTheProductOfTheRoundedNumbers) {
  on_every_target([] {
    for (const Form& form : kForms) {
      for (int64_t out : {1, 15, 16, 17, 31, 33})
        for (int64_t in : {32, 64, 160, 8, 56, 296})
          for (int64_t rows = 1; rows <= kFewRows; ++rows)
            check_quantised(few_rows_quantised, quantised(Floats::random(out * in, 13), form, out, in), rows,
                            rows % 3, rows % 2 == 0);
      check_quantised(few_rows_quantised, quantised(Floats::random(300 * 1024, 14), form, 300, 1024), 3, 1,
                      true);
    }
  });
}

TEST(ManyRowsQuantised, IsTheProductOfTheRoundedNumbers) {
  on_every_target([] {
    for (const Form& form : kForms) {
      for (int64_t out : {1, 15, 16, 17, 33})
        for (int64_t in : {32, 96, 8, 88, 400})
          for (int64_t rows : {1, 2, 5, 6, 7, 11, 12, 13, 25})
            check_quantised(many_rows_quantised, quantised(Floats::random(out * in, 15), form, out, in), rows,
                            rows % 3, rows % 2 == 0);
      // Beyond one block of the inputs, of the rows and of the panels.
      const int64_t in = form.bits == 8 ? 1320 : 2360;
      check_quantised(many_rows_quantised, quantised(Floats::random(150 * in, 16), form, 150, in), 101, 1,
                      true);
    }
  });
}

TEST(QuantisedProducts, TakeEveryFormatOfAFile) {
  std::mt19937 generator(17);
  for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
    on_every_target([&] {
      for (int bits : {8, 4})
        for (bool has_minimums : {false, true}) {
          std::vector<int8_t> quants(40 * 96 * static_cast<size_t>(bits) / 8);
          for (int8_t& byte : quants) byte = static_cast<int8_t>(generator());
          check_quantised(kernel, packed(quants, has_minimums, bits, 40, 96, 0.25f, -1.5f), 7, 1, true);
        }
    });
}

// In tile registers, which few machines have: the same bits, since sums of a group are whole numbers.
TEST(ManyRowsQuantised, TilesComputeTheSame) {
  const TileUse usual = tile_use();
  on_every_target([&] {
    for (const Form& form : kForms)
      for (int64_t rows : {1, 31, 32, 33, 70})
        for (int64_t in : {8, 128, 400, 2312}) {
          const int64_t out = 16 + rows % 50;
          const Memory memory = quantised(Floats::random(out * in, 28), form, out, in);
          Floats x = Floats::random(rows * in, 29), bias = Floats::random(out, 30);
          x[in - 1] = 1e4f;
          Floats in_vectors(rows * out), in_tiles(rows * out);
          set_tile_use(TileUse::none);
          many_rows_quantised({x.data(), in, in_vectors.data(), out, rows, bias.data()}, memory.view);
          set_tile_use(TileUse::emulated);
          many_rows_quantised({x.data(), in, in_tiles.data(), out, rows, bias.data()}, memory.view);
          for (int64_t idx = 0; idx < rows * out; ++idx)
            ASSERT_EQ(in_tiles[idx], in_vectors[idx]) << rows << " rows, " << in << " inputs, " << idx;
        }
  });
  set_tile_use(usual);
}

// The bounds above are those of the worst rounding; what is to be expected is a fraction of that.
TEST(ManyRowsQuantised, IsCloseToTheProduct) {
  constexpr int64_t kRows = 60, kIn = 1320, kOut = 70;
  const Floats weights = Floats::random(kOut * kIn, 25), x = Floats::random(kRows * kIn, 26);
  on_every_target([&] {
    for (const Form& form : kForms) {
      const Memory memory = quantised(weights, form, kOut, kIn);
      Floats kept(kOut * kIn), y(kRows * kOut);
      dequantise(memory.view, kept.data());
      many_rows_quantised({x.data(), kIn, y.data(), kOut, kRows, nullptr}, memory.view);
      double error = 0, squares = 0;
      for (int64_t row = 0; row < kRows; ++row)
        for (int64_t col = 0; col < kOut; ++col) {
          double wanted = 0;
          for (int64_t idx = 0; idx < kIn; ++idx)
            wanted += static_cast<double>(x[row * kIn + idx]) * kept[col * kIn + idx];
          error += std::pow(y[row * kOut + col] - wanted, 2);
          squares += wanted * wanted;
        }
      const double allowed = form.is_rotated ? 0.008 : are_many_rows_rotated() ? 0.0105 : 0.006;
      EXPECT_LE(std::sqrt(error / squares), allowed)
          << form.bits << " bits" << (form.is_rotated ? ", rotated" : "");
    }
  });
}

// Inputs that are all alike (activations have means), or alone: rotated, neither may be lost among the
// others.
TEST(QuantisedProducts, KeepMeansAndSingleInputs) {
  constexpr int64_t kRows = 9, kIn = 256, kOut = 16;
  const Floats weights = Floats::random(kOut * kIn, 27);
  auto check = [&](Kernel kernel, const Memory& memory, bool is_alone) {
    Floats kept(kOut * kIn), y(kRows * kOut), x(kRows * kIn);
    dequantise(memory.view, kept.data());
    for (int64_t row = 0; row < kRows; ++row)
      for (int64_t idx = 0; idx < kIn; ++idx) x[row * kIn + idx] = is_alone ? (idx == 77 + row) : 3.0f;
    kernel({x.data(), kIn, y.data(), kOut, kRows, nullptr}, memory.view);
    for (int64_t row = 0; row < kRows; ++row)
      for (int64_t col = 0; col < kOut; ++col) {
        double wanted = 0, square = 0;
        for (int64_t idx = 0; idx < kIn; ++idx) {
          const double weight = kept[col * kIn + idx];
          wanted += x[row * kIn + idx] * weight;
          square += std::pow(x[row * kIn + idx], 2) * (is_alone ? 1.0 : weight * weight);
        }
        EXPECT_NEAR(y[row * kOut + col], wanted, 0.04 * std::sqrt(square)) << (is_alone ? "alone" : "mean");
      }
  };
  on_every_target([&] {
    for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
      for (bool is_rotated : {false, true})
        for (bool is_alone : {false, true})
          check(kernel, quantised(weights, 8, kOut, kIn, is_rotated), is_alone);
  });
}

// Massive inputs of one row are nobody else's matter: few rows together compute what each computes alone.
TEST(FewRowsQuantised, ARowDoesNotDependOnThoseBesideIt) {
  constexpr int64_t kRows = 20, kIn = 1000, kOut = 40;
  const Floats weights = Floats::random(kOut * kIn, 31);
  Floats x = Floats::random(kRows * kIn, 32);
  for (int64_t row = 0; row < kRows; ++row)  // some massive, with more inputs between them than many rows may
    for (int64_t idx = 0; idx < row % 10; ++idx) x[row * kIn + 31 * row + idx * 7] = 1e3f;
  on_every_target([&] {
    for (const Form& form : kForms) {
      const Memory memory = quantised(weights, form, kOut, kIn);
      Floats together(kRows * kOut), alone(kRows * kOut);
      few_rows_quantised({x.data(), kIn, together.data(), kOut, kRows, nullptr}, memory.view);
      for (int64_t row = 0; row < kRows; ++row)
        few_rows_quantised({x.data() + row * kIn, kIn, alone.data() + row * kOut, kOut, 1, nullptr},
                           memory.view);
      for (int64_t idx = 0; idx < kRows * kOut; ++idx) ASSERT_EQ(together[idx], alone[idx]) << idx / kOut;
    }
  });
}

// Massive inputs are multiplied by the weights as they are kept: what is left is the error of the others. In
// many rows with more of them than is rare they are spread like all others.
TEST(QuantisedProducts, TakeMassiveInputs) {
  constexpr int64_t kRows = 70, kIn = 1000, kOut = 33;
  const Floats weights = Floats::random(kOut * kIn, 33);
  auto check = [&](Kernel kernel, int64_t rows, int64_t massive_rows, double allowed) {
    Floats x = Floats::random(rows * kIn, 34), small = x;
    for (int64_t row = 0; row < massive_rows; ++row) {
      small[row * kIn + 13 * row] = 0.0f;
      x[row * kIn + 13 * row] = row % 2 == 0 ? 4e3f : -2e3f;
    }
    const Memory memory = quantised(weights, 8, kOut, kIn, true);
    Floats y(rows * kOut), kept(kOut * kIn);
    dequantise(memory.view, kept.data());
    kernel({x.data(), kIn, y.data(), kOut, rows, nullptr}, memory.view);
    double error = 0, squares = 0;
    for (int64_t row = 0; row < massive_rows; ++row)
      for (int64_t col = 0; col < kOut; ++col) {
        double wanted = 0, of_small = 0;
        for (int64_t idx = 0; idx < kIn; ++idx) {
          wanted += static_cast<double>(x[row * kIn + idx]) * kept[col * kIn + idx];
          of_small += static_cast<double>(small[row * kIn + idx]) * kept[col * kIn + idx];
        }
        error += std::pow(y[row * kOut + col] - wanted, 2);
        squares += of_small * of_small;
      }
    EXPECT_LE(std::sqrt(error / squares), allowed) << rows << " rows, massive in " << massive_rows;
  };
  on_every_target([&] {
    check(few_rows_quantised, 8, 8, 0.01);
    check(few_rows_quantised, 64, 64, 0.01);
    check(many_rows_quantised, kRows, 20, 0.01);
    check(many_rows_quantised, kRows, kRows, 0.6);
  });
}

// Rotated, infinities meet: some of what they make is no number, none of it may be passed over.
TEST(QuantisedProducts, ShowInfiniteInputs) {
  constexpr int64_t kIn = 264, kOut = 5;
  const Floats weights = Floats::random(kOut * kIn, 35);
  for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
    on_every_target([&] {
      for (const Form& form : kForms) {
        const Memory memory = quantised(weights, form, kOut, kIn);
        for (int64_t first : {0, 3, 70, 255, 258})
          for (int64_t second : {first, first == 255 ? 254 : first + 1, int64_t{8}, int64_t{263}})
            for (float sign : {1.0f, -1.0f}) {
              Floats x = Floats::random(kIn, 36), y(kOut);
              x[first] = INFINITY, x[second] = sign * INFINITY;
              kernel({x.data(), kIn, y.data(), kOut, 1, nullptr}, memory.view);
              for (int64_t col = 0; col < kOut; ++col)
                ASSERT_FALSE(std::isfinite(y[col])) << first << ", " << second;
            }
      }
    });
}

// Where 1 / scale would overflow, zeros would become something else.
TEST(QuantisedProducts, TakeTheLeastNumbersAsZeros) {
  for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
    on_every_target([&] {
      const Memory memory = quantised(Floats::random(16 * 32, 20), 8, 16, 32);
      Floats x(32), y(16);
      x[0] = 1e-38f, x[1] = -1e-39f;
      kernel({x.data(), 32, y.data(), 16, 1, nullptr}, memory.view);
      for (int64_t idx = 0; idx < 16; ++idx) ASSERT_EQ(y[idx], 0.0f);
    });
}

// All sums at their largest: -128 and 127, 15 in 4 bits, against +-127.
TEST(QuantisedProducts, DoNotOverflow) {
  for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
    on_every_target([&] {
      for (int bits : {8, 4})
        for (int byte : {0x80, 0x7f, 0xff})
          for (float sign : {1.0f, -1.0f}) {
            constexpr int64_t kIn = 256, kRows = 8;
            std::vector<int8_t> quants(16 * kIn * static_cast<size_t>(bits) / 8, static_cast<int8_t>(byte));
            Memory memory = packed(quants, false, bits, 16, kIn, 1.0f, 0.0f);
            Floats x(kRows * kIn), y(kRows * 16), weights(16 * kIn);
            for (int64_t idx = 0; idx < kRows * kIn; ++idx) x[idx] = 127.0f * sign;
            dequantise(memory.view, weights.data());
            kernel({x.data(), kIn, y.data(), 16, kRows, nullptr}, memory.view);
            double wanted = 0;
            for (int64_t idx = 0; idx < kIn; ++idx) wanted += 127.0 * sign * weights[idx];
            const bool is_rotated = kernel == many_rows_quantised && are_many_rows_rotated();
            for (int64_t idx = 0; idx < kRows * 16; ++idx)
              ASSERT_NEAR(y[idx], wanted, (is_rotated ? 1e-2 : 4e-7) * std::fabs(wanted));
          }
    });
}

void check_dense(void (*kernel)(const Product&, const DenseMatrix&), Float type, int64_t rows, int64_t in,
                 int64_t out, int64_t shift) {
  // Pairs of bfloat16 weights are multiplied together where rows are whole pairs apart.
  const int64_t x_stride = in + 1, y_stride = out + 2, stride = in + (shift == 0 ? 2 : 3);
  Floats x = Floats::random(rows * x_stride, 21, shift), weights = Floats::random(out * stride, 22, shift);
  Floats bias = Floats::random(out, 23), y(rows * y_stride, shift), kept(out * in);
  if (type == Float::bf16)  // many rows would be rounded, with pairs
    for (int64_t idx = 0; idx < x.size(); ++idx) x[idx] = bf16_to_float(float_to_bf16(x[idx]));
  std::vector<uint16_t> halves(static_cast<size_t>(out * stride));
  for (int64_t row = 0; row < out; ++row)
    for (int64_t idx = 0; idx < in; ++idx) {
      float value = weights[row * stride + idx];
      uint16_t& half = halves[static_cast<size_t>(row * stride + idx)];
      half = type == Float::bf16 ? float_to_bf16(value) : float_to_half(value);
      kept[row * in + idx] = type == Float::f32    ? value
                             : type == Float::bf16 ? bf16_to_float(half)
                                                   : half_to_float(half);
    }
  const void* data = type == Float::f32 ? static_cast<const void*>(weights.data()) : halves.data();
  kernel({x.data(), x_stride, y.data(), y_stride, rows, bias.data()}, {data, type, out, in, stride});
  for (int64_t row = 0; row < rows; ++row)
    expect_product({x.data() + row * x_stride, x.data() + row * x_stride + in}, kept.data(), bias.data(), in,
                   out, y.data() + row * y_stride);
}

TEST(FewRowsDense, IsTheProduct) {
  on_every_target([] {
    for (Float type : {Float::f32, Float::bf16, Float::f16})
      for (int64_t in = 1; in <= 33; ++in)
        check_dense(few_rows_dense, type, 1 + in % 8, in, 1 + in % 7, in % 3);
    check_dense(few_rows_dense, Float::bf16, 8, 1023, 130, 1);
  });
}

TEST(DenseProducts, KeepWhatIsNotFinite) {
  for (auto kernel : {few_rows_dense, many_rows_dense})
    on_every_target([&] {
      for (Float type : {Float::bf16, Float::f16}) {
        constexpr int64_t kIn = 40, kOut = 3;
        std::vector<uint16_t> weights(kOut * kIn, type == Float::f16 ? 0x3c00 : 0x3f80);  // 1
        weights[7] = type == Float::f16 ? 0x7c00 : 0x7f80;                                // infinity
        weights[kIn + 9] = type == Float::f16 ? 0x7e00 : 0x7fc0;                          // no number
        Floats x(kIn), y(kOut);
        for (int64_t idx = 0; idx < kIn; ++idx) x[idx] = 1.0f;
        kernel({x.data(), kIn, y.data(), kOut, 1, nullptr}, {weights.data(), type, kOut, kIn, kIn});
        EXPECT_TRUE(std::isinf(y[0]));
        EXPECT_TRUE(std::isnan(y[1]));
        EXPECT_EQ(y[2], 40.0f);
      }
    });
}

TEST(ManyRowsDense, IsTheProduct) {
  on_every_target([] {
    for (Float type : {Float::f32, Float::bf16, Float::f16})
      for (int64_t in = 1; in <= 33; ++in)
        check_dense(many_rows_dense, type, 1 + in % 27, in, 1 + in * 5 % 35, in % 3);
    for (int64_t in : {523, 524}) {
      check_dense(many_rows_dense, Float::bf16, 101, in, 150, in % 2);
      check_dense(many_rows_dense, Float::f16, 101, in, 150, 1);
    }
  });
}

TEST(ManyRowsDense, MayRoundToBfloat16BesideItsWeights) {
  on_every_target([] {
    constexpr int64_t kRows = 20, kIn = 64, kOut = 16;
    const Floats x = Floats::random(kRows * kIn, 24);
    Floats y(kRows * kOut);
    const std::vector<uint16_t> ones(kOut * kIn, float_to_bf16(1.0f));
    many_rows_dense({x.data(), kIn, y.data(), kOut, kRows}, {ones.data(), Float::bf16, kOut, kIn, kIn});
    for (int64_t row = 0; row < kRows; ++row) {
      double wanted = 0, magnitude = 0;
      for (int64_t idx = 0; idx < kIn; ++idx)
        wanted += x[row * kIn + idx], magnitude += std::fabs(x[row * kIn + idx]);
      for (int64_t col = 0; col < kOut; ++col)
        ASSERT_NEAR(y[row * kOut + col], wanted, magnitude * (0x1p-9 + kIn * 0x1p-24));
    }
  });
}

// What products give without a function, and the function of that, are the same as both at once: also where
// inputs are massive, which are added at the end.
TEST(Products, GiveTheFunctionOfTheirSumsTimesTheFactor) {
  constexpr int64_t kIn = 520, kOut = 45, kStride = kOut + 3;
  auto check = [&](int64_t rows, const auto& run) {
    const Floats factor = Floats::random(rows * kStride, 31);
    Floats sums(rows * kStride), y(rows * kStride);
    for (int64_t idx = 0; idx < rows * kStride; ++idx) y[idx] = sums[idx] = 77.0f;
    Product product{nullptr, 0, sums.data(), kStride, rows};
    run(product);
    for (const bool has_factor : {false, true}) {
      product.y = y.data();
      product.function = Function::silu;
      product.factor = has_factor ? factor.data() : nullptr;
      product.factor_stride = kStride;
      run(product);
      Floats wanted = sums;
      apply({Function::silu, sums.data(), kStride, product.factor, kStride, wanted.data(), kStride, rows,
             kOut});
      for (int64_t idx = 0; idx < rows * kStride; ++idx) ASSERT_EQ(y[idx], wanted[idx]) << idx;
    }
  };
  const Floats weights = Floats::random(kOut * kIn, 32), bias = Floats::random(kOut, 33);
  on_every_target([&] {
    for (const int64_t rows : {1, 7, 70})
      for (const bool is_massive : {false, true}) {
        Floats x = Floats::random(rows * kIn, 34);
        if (is_massive) x[3] = 5000.0f;
        auto with_operands = [&](Product& product) {
          product.x = x.data(), product.x_stride = kIn, product.bias = bias.data();
        };
        for (const Form& form : kForms) {
          const Memory memory = quantised(weights, form, kOut, kIn);
          for (Kernel kernel : {few_rows_quantised, many_rows_quantised})
            check(rows, [&](Product product) { with_operands(product), kernel(product, memory.view); });
        }
        for (auto kernel : {few_rows_dense, many_rows_dense})
          check(rows, [&](Product product) {
            with_operands(product), kernel(product, {weights.data(), Float::f32, kOut, kIn, kIn});
          });
      }
  });
}

}  // namespace
}  // namespace vlm::kernels
