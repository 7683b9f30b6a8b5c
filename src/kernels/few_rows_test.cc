// What a row computes does not depend on the rows that come with it, nor on how outputs fall into blocks.
#include "base/half.h"
#include "kernels/product.h"
#include "kernels/product_testing.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

class DenseWeights {
 public:
  DenseWeights(Float type, int64_t out, int64_t in, int64_t stride)
      : floats_(Floats::random(out * stride, 31, 1)),
        halves_(static_cast<size_t>(out * stride + 1)),
        matrix_{nullptr, type, out, in, stride} {
    for (int64_t idx = 0; idx < out * stride; ++idx)
      halves_[static_cast<size_t>(idx + 1)] =
          type == Float::bf16 ? float_to_bf16(floats_[idx]) : float_to_half(floats_[idx]);
    matrix_.data = type == Float::f32 ? static_cast<const void*>(floats_.data()) : halves_.data() + 1;
  }
  DenseMatrix from(int64_t output) const {
    DenseMatrix rest = matrix_;
    const int64_t bytes = matrix_.type == Float::f32 ? 4 : 2;
    rest.data = static_cast<const char*>(matrix_.data) + output * matrix_.stride * bytes;
    rest.out -= output;
    return rest;
  }

 private:
  Floats floats_;
  std::vector<uint16_t> halves_;
  DenseMatrix matrix_;
};

void check_alone(Float type, int64_t in, int64_t out) {
  const int64_t x_stride = in + 1, y_stride = out + 3;
  const DenseWeights weights(type, out, in, in + 5);
  const Floats x = Floats::random(kFewRows * x_stride, 32, 1), bias = Floats::random(out, 33);
  Floats alone(kFewRows * out);
  for (int64_t row = 0; row < kFewRows; ++row)
    few_rows_dense({x.data() + row * x_stride, x_stride, alone.data() + row * out, out, 1, bias.data()},
                   weights.from(0));
  for (int64_t rows = 2; rows <= kFewRows; ++rows)
    for (int64_t first : {0, 1, 2, 3}) {
      if (first >= out) continue;
      Floats y(rows * y_stride, 1);
      for (int64_t idx = 0; idx < rows * y_stride; ++idx) y[idx] = 77.0f;
      few_rows_dense({x.data(), x_stride, y.data(), y_stride, rows, bias.data() + first},
                     weights.from(first));
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t col = first; col < out; ++col)
          ASSERT_EQ(y[row * y_stride + col - first], alone[row * out + col])
              << rows << " rows, " << in << " inputs, output " << col << " of " << out;
        for (int64_t gap = out - first; gap < y_stride; ++gap) ASSERT_EQ(y[row * y_stride + gap], 77.0f);
      }
    }
}

TEST(FewRowsDense, ComputeWhatEachComputesAlone) {
  on_every_target([] {
    for (Float type : {Float::f32, Float::bf16, Float::f16}) {
      for (int64_t in : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 130})
        for (int64_t out : {1, 2, 3, 4, 5, 15, 16, 17, 23}) check_alone(type, in, out);
      check_alone(type, 2049, 70);
    }
  });
}

TEST(FewRowsQuantised, ComputeWhatEachComputesAlone) {
  constexpr int64_t kIn = 200, kOut = 39;
  const Floats x = Floats::random(kFewRowsQuantised * kIn, 34);
  on_every_target([&] {
    for (int bits : {8, 4}) {
      const Memory matrix = quantised(Floats::random(kOut * kIn, 35), bits, kOut, kIn);
      Floats alone(kFewRowsQuantised * kOut);
      for (int64_t row = 0; row < kFewRowsQuantised; ++row)
        few_rows_quantised({x.data() + row * kIn, kIn, alone.data() + row * kOut, kOut, 1}, matrix.view);
      for (int64_t rows = 2; rows <= kFewRowsQuantised; rows += rows < 20 ? 1 : 11) {
        Floats y(rows * kOut);
        few_rows_quantised({x.data(), kIn, y.data(), kOut, rows}, matrix.view);
        for (int64_t idx = 0; idx < rows * kOut; ++idx) ASSERT_EQ(y[idx], alone[idx]) << rows << " rows";
      }
    }
  });
}

}  // namespace
}  // namespace vlm::kernels
