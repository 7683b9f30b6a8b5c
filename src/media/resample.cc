#include "media/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/parallel.h"

namespace vlm {
namespace {

template <typename T>
T sinc(T x) {
  if (x == 0) return 1;
  x *= std::numbers::pi_v<T>;
  return std::sin(x) / x;
}

double filter_support(Filter filter) {
  switch (filter) {
    case Filter::box:
      return 0.5;
    case Filter::bilinear:
      return 1;
    case Filter::hamming:
      return 1;
    case Filter::bicubic:
      return 2;
    case Filter::lanczos:
      return 3;
    case Filter::nearest:
      break;
  }
  fail(ErrorKind::internal, "", "nearest has no weights");
}

// a * b + c as the references' builds compute it: Pillow (double) rounds twice, torch (float) once.
double multiply_add(double a, double b, double c) {
  return a * b + c;
}
float multiply_add(float a, float b, float c) {
  return std::fma(a, b, c);
}

template <typename T>
T filter_value(Filter filter, T x) {
  if (filter == Filter::box) return x > T(-0.5) && x <= T(0.5) ? 1 : 0;  // open on the left, as Pillow has it
  x = std::abs(x);
  if (!(x < static_cast<T>(filter_support(filter)))) return 0;
  switch (filter) {
    case Filter::bilinear:
      return 1 - x;
    case Filter::hamming:
      if (x == 0) return 1;
      x *= std::numbers::pi_v<T>;
      return std::sin(x) / x * (T(0.54) + T(0.46) * std::cos(x));
    case Filter::bicubic: {
      constexpr T a = -0.5;
      if (x < 1) return multiply_add(multiply_add(a + 2, x, -(a + 3)) * x, x, T(1));
      return multiply_add(multiply_add(multiply_add(a, x, -5 * a), x, 8 * a), x, -4 * a);
    }
    default:
      return sinc(x) * sinc(x / 3);
  }
}

using Lanes4 = int32_t __attribute__((vector_size(16)));

inline uint8_t clamp_byte(int32_t value) {
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

// One row. `wide` holds its pixels as four 32-bit lanes, the last of them zero.
VLM_PER_CPU
void horizontal_row(const Lanes4* wide, uint8_t* target, const FixedTaps& taps) {
  const int32_t half = 1 << (taps.precision - 1), precision = taps.precision;
  const int64_t outputs = taps.outputs(), width = taps.width;
  for (int64_t x = 0; x < outputs; ++x, target += 3) {
    const Lanes4* pixel = wide + taps.first[x];
    const int32_t* weight = taps.weights.data() + x * width;
    const int64_t count = taps.count[x];
    Lanes4 sum = {half, half, half, 0};
    for (int64_t k = 0; k < count; ++k) sum += pixel[k] * weight[k];
    sum >>= precision;
    target[0] = clamp_byte(sum[0]);
    target[1] = clamp_byte(sum[1]);
    target[2] = clamp_byte(sum[2]);
  }
}

// `length` bytes of one output row; the rows of `source` are `stride` apart.
VLM_PER_CPU
void vertical_row(const uint8_t* source, int64_t stride, int64_t length, uint8_t* target,
                  const int32_t* weight, int64_t count, int precision) {
  constexpr int64_t block = 512;
  int32_t sums[block];
  for (int64_t begin = 0; begin < length; begin += block) {
    const int64_t size = std::min(block, length - begin);
    std::fill_n(sums, size, 1 << (precision - 1));
    int64_t k = 0;
    for (; k + 4 <= count; k += 4) {  // four rows for each time the sums are loaded and stored
      const uint8_t* row = source + k * stride + begin;
      for (int64_t x = 0; x < size; ++x) {
        sums[x] += row[x] * weight[k] + row[stride + x] * weight[k + 1] +
                   row[2 * stride + x] * weight[k + 2] + row[3 * stride + x] * weight[k + 3];
      }
    }
    for (; k < count; ++k) {
      const uint8_t* row = source + k * stride + begin;
      for (int64_t x = 0; x < size; ++x) sums[x] += row[x] * weight[k];
    }
    for (int64_t x = 0; x < size; ++x) target[begin + x] = clamp_byte(sums[x] >> precision);
  }
}

Image empty_image(int64_t height, int64_t width) {
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3))};
}

int64_t row_grain(int64_t bytes_of_row) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, bytes_of_row));
}

}  // namespace

template <typename T>
Taps<T> antialias_taps(int64_t input, int64_t output, Filter filter) {
  VLM_CHECK(input > 0 && output > 0, "resize {} to {}", input, output);
  const T scale = static_cast<T>(input) / static_cast<T>(output);
  const T support = static_cast<T>(filter_support(filter)) * std::max<T>(scale, 1);
  const T inverse = scale >= 1 ? static_cast<T>(1.0 / scale) : T(1);
  Taps<T> taps;
  taps.width = std::min<int64_t>(input, static_cast<int64_t>(std::ceil(support)) * 2 + 1);
  taps.first.resize(output);
  taps.count.resize(output);
  taps.weights.assign(output * taps.width, 0);
  for (int64_t i = 0; i < output; ++i) {
    // The halves are doubles in both references; the roundings to T lie where theirs do.
    const T centre = static_cast<T>(scale * (i + 0.5));
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const int64_t end = std::min(input, static_cast<int64_t>(centre + support + 0.5));
    const int64_t count = std::clamp<int64_t>(end - first, 0, taps.width);
    T* weight = taps.weights.data() + i * taps.width;
    T total = 0;
    for (int64_t k = 0; k < count; ++k) {
      weight[k] = filter_value(filter, static_cast<T>((k + first - centre + 0.5) * inverse));
      total += weight[k];
    }
    for (int64_t k = 0; k < count && total != 0; ++k) weight[k] /= total;
    taps.first[i] = first;
    taps.count[i] = count;
  }
  return taps;
}

template <typename T>
Taps<T> interpolation_taps(int64_t input, int64_t output, Filter filter) {
  VLM_CHECK(input > 0 && output > 0, "resize {} to {}", input, output);
  VLM_CHECK(filter == Filter::bilinear || filter == Filter::bicubic);
  const int64_t reach = filter == Filter::bilinear ? 2 : 4;
  const T scale = static_cast<T>(input) / static_cast<T>(output);
  Taps<T> taps;
  taps.width = std::min(reach, input);
  taps.first.resize(output);
  taps.count.assign(output, taps.width);
  taps.weights.assign(output * taps.width, 0);
  for (int64_t i = 0; i < output; ++i) {
    // Multiply-adds rounded once, as torch's builds have them: far from zero the weights show it.
    T place = std::fma(scale, static_cast<T>(i) + T(0.5), T(-0.5));
    if (filter == Filter::bilinear) place = std::max<T>(place, 0);
    const int64_t base = std::min(static_cast<int64_t>(std::floor(place)), input - 1);
    const T t = std::clamp<T>(place - static_cast<T>(base), 0, 1);
    T weights[4] = {1 - t, t};
    if (filter == Filter::bicubic) {
      constexpr T a = -0.75;
      auto near = [](T x) { return std::fma(std::fma(a + 2, x, -(a + 3)) * x, x, T(1)); };
      auto far = [](T x) { return std::fma(std::fma(std::fma(a, x, -5 * a), x, 8 * a), x, -4 * a); };
      weights[0] = far(t + 1);
      weights[1] = near(t);
      weights[2] = near(1 - t);
      weights[3] = far((1 - t) + 1);
    }
    const int64_t start = base - (reach / 2 - 1);
    const int64_t first = std::clamp<int64_t>(start, 0, input - taps.width);
    for (int64_t k = 0; k < reach; ++k) {
      const int64_t at = std::clamp<int64_t>(start + k, 0, input - 1);
      taps.weights[i * taps.width + at - first] += weights[k];
    }
    taps.first[i] = first;
  }
  return taps;
}

template Taps<float> antialias_taps<float>(int64_t, int64_t, Filter);
template Taps<double> antialias_taps<double>(int64_t, int64_t, Filter);
template Taps<float> interpolation_taps<float>(int64_t, int64_t, Filter);
template Taps<double> interpolation_taps<double>(int64_t, int64_t, Filter);

FixedTaps fixed_taps(const Taps<double>& taps, int precision) {
  FixedTaps fixed;
  fixed.width = taps.width;
  fixed.first = taps.first;
  fixed.count = taps.count;
  fixed.precision = precision;
  fixed.weights.resize(taps.weights.size());
  const double scale = static_cast<double>(int64_t{1} << precision);
  std::transform(taps.weights.begin(), taps.weights.end(), fixed.weights.begin(), [scale](double weight) {
    return static_cast<int32_t>(weight * scale + (weight < 0 ? -0.5 : 0.5));
  });
  return fixed;
}

Image resample_vertically(const Image& image, const FixedTaps& taps) {
  Image result = empty_image(taps.outputs(), image.width);
  const int64_t stride = image.width * 3;
  parallel_for(0, result.height, row_grain(stride * taps.width), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      vertical_row(image.row(taps.first[y]), stride, stride, result.row(y),
                   taps.weights.data() + y * taps.width, taps.count[y], taps.precision);
    }
  });
  return result;
}

Image resample_horizontally(const Image& image, const FixedTaps& taps) {
  Image result = empty_image(image.height, taps.outputs());
  parallel_for(0, image.height, row_grain(image.width * 3), [&](int64_t begin, int64_t end) {
    std::vector<Lanes4> wide(static_cast<size_t>(image.width));
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* pixel = image.row(y);
      for (Lanes4& lanes : wide) {
        lanes = Lanes4{pixel[0], pixel[1], pixel[2], 0};
        pixel += 3;
      }
      horizontal_row(wide.data(), result.row(y), taps);
    }
  });
  return result;
}

Image gather_pixels(const Image& image, const std::vector<int64_t>& rows,
                    const std::vector<int64_t>& columns) {
  Image result = empty_image(static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()));
  parallel_for(0, result.height, row_grain(result.width * 3), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* source = image.row(rows[y]);
      uint8_t* target = result.row(y);
      for (int64_t column : columns) {
        std::copy_n(source + column * 3, 3, target);
        target += 3;
      }
    }
  });
  return result;
}

}  // namespace vlm
