// Pillow's and torch's ways of resizing, on the passes of resample.h.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/cpu.h"
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

// A side that keeps its size is not filtered. `make` gives the taps of outputs [begin, begin + size).
template <typename Make>
BytePass make_pass(int64_t input, int64_t output, int64_t begin, int64_t size, const Make& make) {
  if (input == output) return {std::nullopt, begin, size};
  return {make(input, output, begin, size), 0, 0};
}

// torch keeps weights of bytes in 16 bits, at the finest precision that holds the side's largest one.
kernels::ByteTaps torch_byte_taps(int64_t input, int64_t output, Filter filter, bool antialias) {
  const Taps<double> taps = antialias ? antialias_taps<double>(input, output, filter)
                                      : interpolation_taps<double>(input, output, filter);
  const double largest = *std::max_element(taps.weights.begin(), taps.weights.end());
  int precision = 0;
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15)) ++precision;
  return fixed_taps(taps, precision, 0, output);
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

kernels::FloatTaps pointers(const Taps<float>& taps) {
  return {taps.first.data(), taps.count.data(), taps.weights.data(), taps.width, taps.outputs()};
}

// The kernels' definitions.
void plain_floats(const float* source, int64_t rows, int64_t width, const Taps<float>& taps, float* target) {
  for (int64_t row = 0; row < rows; ++row, source += width) {
    for (int64_t i = 0; i < taps.outputs(); ++i) {
      float sum = 0;
      for (int64_t k = 0; k < taps.count[i]; ++k)
        sum = std::fma(source[taps.first[i] + k], taps.weights[i * taps.width + k], sum);
      *target++ = sum;
    }
  }
}

void plain_float_rows(const float* source, int64_t width, const Taps<float>& taps, int64_t idx,
                      float* target) {
  for (int64_t x = 0; x < width; ++x) {
    float sum = 0;
    for (int64_t k = 0; k < taps.count[idx]; ++k)
      sum = std::fma(source[(taps.first[idx] + k) * width + x], taps.weights[idx * taps.width + k], sum);
    target[x] = sum;
  }
}

}  // namespace

Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter) {
  if (height == image.height && width == image.width) return image;
  return resize_pillow(image, height, width, filter, {image.height, image.width, 0, 0, {}},
                       {0, 0, height, width});
}

Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter, const Ground& ground,
                    const Window& window) {
  check_resize(image.height, image.width, height, width);
  VLM_CHECK(ground.top >= 0 && ground.left >= 0 && ground.top + image.height <= ground.height &&
            ground.left + image.width <= ground.width);
  VLM_CHECK(window.top >= 0 && window.left >= 0 && window.height > 0 && window.width > 0 &&
            window.top + window.height <= height && window.left + window.width <= width);
  if (filter == Filter::nearest) {
    const bool is_whole = ground.height == image.height && ground.width == image.width;
    auto part = [](const std::vector<int64_t>& indices, int64_t begin, int64_t size) {
      return std::vector<int64_t>(indices.begin() + begin, indices.begin() + begin + size);
    };
    return gather_pixels(
        is_whole ? image : pad(image, ground.height, ground.width, ground.top, ground.left, ground.fill),
        part(pillow_nearest(ground.height, height), window.top, window.height),
        part(pillow_nearest(ground.width, width), window.left, window.width));
  }
  auto make = [filter](int64_t input, int64_t output, int64_t begin, int64_t size) {
    constexpr int precision = 32 - 8 - 2;
    return fixed_taps(antialias_taps<double>(input, output, filter), precision, begin, size);
  };
  // Since Pillow 13; before, rows always came first. The rounding between the passes makes it visible, by a
  // step.
  const bool vertical_first = height < ground.height && ground.height - height > 2 * (ground.width - width);
  return resample(image, ground, make_pass(ground.height, height, window.top, window.height, make),
                  make_pass(ground.width, width, window.left, window.width, make), vertical_first);
}

Image resize_torch(const Image& image, int64_t height, int64_t width, Filter filter, bool antialias) {
  check_resize(image.height, image.width, height, width);
  check_torch_filter(filter, antialias);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_pixels(image, torch_nearest(image.height, height), torch_nearest(image.width, width));
  }
  auto make = [filter, antialias](int64_t input, int64_t output, int64_t, int64_t) {
    return torch_byte_taps(input, output, filter, antialias);
  };
  return resample(image, {image.height, image.width, 0, 0, {}},
                  make_pass(image.height, height, 0, height, make),
                  make_pass(image.width, width, 0, width, make), /*vertical_first=*/false);
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
  const bool is_plain = kernels::level_from_environment() == kernels::Level::off;
  std::vector<float> narrow(static_cast<size_t>(image.channels * image.height * width));
  FloatImage result{image.channels, height, width,
                    std::vector<float>(static_cast<size_t>(image.channels * height * width))};
  parallel_for(0, image.channels * image.height, std::max<int64_t>(16, 16384 / image.width),
               [&](int64_t begin, int64_t end) {
                 const float* source = image.values.data() + begin * image.width;
                 float* target = narrow.data() + begin * width;
                 if (is_plain)
                   plain_floats(source, end - begin, image.width, horizontal, target);
                 else
                   kernels::resample_floats(source, end - begin, image.width, pointers(horizontal), target);
               });
  parallel_for(0, image.channels * height, std::max<int64_t>(1, 16384 / width),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   const float* plane = narrow.data() + row / height * image.height * width;
                   float* target = result.values.data() + row * width;
                   if (is_plain)
                     plain_float_rows(plane, width, vertical, row % height, target);
                   else
                     kernels::resample_float_rows(plane, width, pointers(vertical), row % height, target);
                 }
               });
  return result;
}

}  // namespace vlm
