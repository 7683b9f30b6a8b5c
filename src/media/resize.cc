// Pillow's and torch's ways of resizing, on the passes of resample.h.
#include <algorithm>
#include <cmath>

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

FixedTaps pillow_taps(int64_t input, int64_t output, Filter filter) {
  constexpr int precision = 32 - 8 - 2;
  return fixed_taps(antialias_taps<double>(input, output, filter), precision);
}

// torch keeps weights of bytes in 16 bits, at the finest precision that holds the side's largest one.
FixedTaps torch_byte_taps(int64_t input, int64_t output, Filter filter, bool antialias) {
  const Taps<double> taps = antialias ? antialias_taps<double>(input, output, filter)
                                      : interpolation_taps<double>(input, output, filter);
  const double largest = *std::max_element(taps.weights.begin(), taps.weights.end());
  int precision = 0;
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15)) ++precision;
  return fixed_taps(taps, precision);
}

// A side that keeps its size is not filtered.
template <typename MakeTaps>
Image resize_bytes(const Image& image, int64_t height, int64_t width, bool vertical_first,
                   MakeTaps make_taps) {
  auto vertically = [&](const Image& from) {
    return height == image.height ? from : resample_vertically(from, make_taps(image.height, height));
  };
  auto horizontally = [&](const Image& from) {
    return width == image.width ? from : resample_horizontally(from, make_taps(image.width, width));
  };
  return vertical_first ? horizontally(vertically(image)) : vertically(horizontally(image));
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

// Eight rows at a time, so that the sums of one need not wait for each other; at the end the last row fills
// up.
VLM_PER_CPU
void horizontal_floats(const float* source, int64_t width, int64_t rows, float* target,
                       const Taps<float>& taps) {
  constexpr int64_t group = 8;
  const int64_t outputs = taps.outputs();
  for (int64_t row = 0; row < rows; row += group) {
    const int64_t real = std::min(group, rows - row);
    const float* line[group];
    for (int64_t r = 0; r < group; ++r) line[r] = source + (row + std::min(r, real - 1)) * width;
    for (int64_t x = 0; x < outputs; ++x) {
      const int64_t first = taps.first[x], count = taps.count[x];
      const float* weight = taps.weights.data() + x * taps.width;
      float sums[group] = {};
      for (int64_t k = 0; k < count; ++k) {
        for (int64_t r = 0; r < group; ++r) sums[r] = std::fma(line[r][first + k], weight[k], sums[r]);
      }
      for (int64_t r = 0; r < real; ++r) target[(row + r) * outputs + x] = sums[r];
    }
  }
}

VLM_PER_CPU
void vertical_floats(const float* source, int64_t width, float* target, const Taps<float>& taps, int64_t y) {
  const int64_t count = taps.count[y];
  const float* weight = taps.weights.data() + y * taps.width;
  const float* first = source + taps.first[y] * width;
  std::fill_n(target, width, 0.0f);
  for (int64_t k = 0; k < count; ++k) {
    const float* row = first + k * width;
    for (int64_t x = 0; x < width; ++x) target[x] = std::fma(row[x], weight[k], target[x]);
  }
}

}  // namespace

Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter) {
  check_resize(image.height, image.width, height, width);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_pixels(image, pillow_nearest(image.height, height), pillow_nearest(image.width, width));
  }
  // Since Pillow 13; before, rows always came first. The rounding between the passes makes it visible, by a
  // step.
  const bool vertical_first = height < image.height && image.height - height > 2 * (image.width - width);
  return resize_bytes(image, height, width, vertical_first,
                      [filter](int64_t input, int64_t output) { return pillow_taps(input, output, filter); });
}

Image resize_torch(const Image& image, int64_t height, int64_t width, Filter filter, bool antialias) {
  check_resize(image.height, image.width, height, width);
  check_torch_filter(filter, antialias);
  if (height == image.height && width == image.width) return image;
  if (filter == Filter::nearest) {
    return gather_pixels(image, torch_nearest(image.height, height), torch_nearest(image.width, width));
  }
  return resize_bytes(image, height, width, false, [filter, antialias](int64_t input, int64_t output) {
    return torch_byte_taps(input, output, filter, antialias);
  });
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
                 horizontal_floats(image.values.data() + begin * image.width, image.width, end - begin,
                                   narrow.data() + begin * width, horizontal);
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
