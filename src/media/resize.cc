// Pillow's and torch's ways of resizing, on the passes of resample.h.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"
#include "media/image.h"
#include "media/resample.h"

namespace vlm {
namespace {

void check_resize(int64_t height, int64_t width, int64_t new_height, int64_t new_width) {
  VLM_CHECK(height > 0 && width > 0 && new_height > 0 && new_width > 0, "resize {} x {} to {} x {}", width,
            height, new_width, new_height);
}

// Pillow adds the step up in double, so the rounding errors of the sum are part of its answer.
std::vector<int64_t> pillow_nearest(int64_t input, int64_t output) {
  const double step = static_cast<double>(input) / static_cast<double>(output);
  std::vector<int64_t> indices(output);
  double place = step * 0.5;
  for (int64_t& index : indices) {
    index = std::min(static_cast<int64_t>(place), input - 1);
    place += step;
  }
  return indices;
}

std::vector<int64_t> torch_nearest(int64_t input, int64_t output) {
  const float scale = static_cast<float>(input) / static_cast<float>(output);
  std::vector<int64_t> indices(output);
  for (int64_t i = 0; i < output; ++i) {
    indices[i] = std::min(static_cast<int64_t>(std::floor(static_cast<float>(i) * scale)), input - 1);
  }
  return indices;
}

std::optional<FixedTaps> pillow_taps(int64_t input, int64_t output, Filter filter) {
  constexpr int precision = 32 - 8 - 2;
  if (input == output) return std::nullopt;
  return fixed_taps(antialias_taps<double>(input, output, filter), precision);
}

// torch keeps weights of bytes in 16 bits, at the finest precision that holds the side's largest one.
std::optional<FixedTaps> torch_byte_taps(int64_t input, int64_t output, Filter filter, bool antialias) {
  if (input == output) return std::nullopt;
  const Taps<double> taps = antialias ? antialias_taps<double>(input, output, filter)
                                      : interpolation_taps<double>(input, output, filter);
  const double largest = *std::max_element(taps.weights.begin(), taps.weights.end());
  int precision = 0;
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15)) ++precision;
  return fixed_taps(taps, precision);
}

const FixedTaps* pointer(const std::optional<FixedTaps>& taps) {
  return taps ? &*taps : nullptr;
}

void check_torch_filter(Filter filter, bool antialias) {
  VLM_CHECK(filter == Filter::nearest || filter == Filter::bilinear || filter == Filter::bicubic ||
                (filter == Filter::lanczos && antialias),
            "torch has no such filter");
}

FloatImage gather_floats(const FloatImage& image, const std::vector<int64_t>& rows,
                         const std::vector<int64_t>& columns) {
  FloatImage result{
      image.channels, static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()), {}};
  result.values.reserve(static_cast<size_t>(result.channels * result.height * result.width));
  for (int64_t c = 0; c < image.channels; ++c) {
    for (int64_t row : rows) {
      const float* source = image.values.data() + (c * image.height + row) * image.width;
      for (int64_t column : columns) result.values.push_back(source[column]);
    }
  }
  return result;
}

void horizontal_floats(const float* source, float* target, const Taps<float>& taps) {
  for (int64_t x = 0; x < taps.outputs(); ++x) {
    const float* value = source + taps.first[x];
    const float* weight = taps.weights.data() + x * taps.width;
    float sum = 0;
    for (int64_t k = 0; k < taps.count[x]; ++k) sum += value[k] * weight[k];
    target[x] = sum;
  }
}

void vertical_floats(const float* source, int64_t width, float* target, const Taps<float>& taps, int64_t y) {
  std::fill_n(target, width, 0.0f);
  for (int64_t k = 0; k < taps.count[y]; ++k) {
    const float weight = taps.weights[y * taps.width + k];
    const float* row = source + (taps.first[y] + k) * width;
    for (int64_t x = 0; x < width; ++x) target[x] += row[x] * weight;
  }
}

}  // namespace

Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter) {
  check_resize(image.height, image.width, height, width);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_pixels(image, pillow_nearest(image.height, height), pillow_nearest(image.width, width));
  }
  auto horizontal = pillow_taps(image.width, width, filter);
  auto vertical = pillow_taps(image.height, height, filter);
  return resample_bytes(image, pointer(horizontal), pointer(vertical));
}

Image resize_torch(const Image& image, int64_t height, int64_t width, Filter filter, bool antialias) {
  check_resize(image.height, image.width, height, width);
  check_torch_filter(filter, antialias);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_pixels(image, torch_nearest(image.height, height), torch_nearest(image.width, width));
  }
  auto horizontal = torch_byte_taps(image.width, width, filter, antialias);
  auto vertical = torch_byte_taps(image.height, height, filter, antialias);
  return resample_bytes(image, pointer(horizontal), pointer(vertical));
}

FloatImage resize_torch(const FloatImage& image, int64_t height, int64_t width, Filter filter,
                        bool antialias) {
  check_resize(image.height, image.width, height, width);
  check_torch_filter(filter, antialias);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_floats(image, torch_nearest(image.height, height), torch_nearest(image.width, width));
  }
  const auto make = antialias ? antialias_taps<float> : interpolation_taps<float>;
  const Taps<float> horizontal = make(image.width, width, filter);
  const Taps<float> vertical = make(image.height, height, filter);
  std::vector<float> narrow(static_cast<size_t>(image.channels * image.height * width));
  FloatImage result{image.channels, height, width,
                    std::vector<float>(static_cast<size_t>(image.channels * height * width))};
  parallel_for(0, image.channels * image.height, std::max<int64_t>(1, 16384 / image.width),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   horizontal_floats(image.values.data() + row * image.width, narrow.data() + row * width,
                                     horizontal);
                 }
               });
  parallel_for(0, image.channels * height, std::max<int64_t>(1, 16384 / width),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   const float* plane = narrow.data() + row / height * image.height * width;
                   vertical_floats(plane, width, result.values.data() + row * width, vertical, row % height);
                 }
               });
  return result;
}

}  // namespace vlm
