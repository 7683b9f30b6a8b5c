#include "media/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/cpu.h"

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

// How far apart threads work: what two pieces of the result need of the input overlaps.
constexpr int64_t kLeastRows = 32;

// The rows of a picture on its ground.
class Rows {
 public:
  Rows(const Image& image, const Ground& ground) : image_(image), ground_(ground), bar_(3 * ground.width) {
    for (size_t at = 0; at < bar_.size(); ++at) bar_[at] = ground.fill[at % 3];
  }

  bool has_sides() const { return ground_.width != image_.width; }

  // `copy`, where there are bars at the sides: memory for a row.
  const uint8_t* row(int64_t y, uint8_t* copy) const {
    y -= ground_.top;
    if (y < 0 || y >= image_.height) return bar_.data();
    if (!has_sides()) return image_.row(y);
    std::copy(bar_.begin(), bar_.end(), copy);
    std::copy_n(image_.row(y), image_.width * 3, copy + ground_.left * 3);
    return copy;
  }
  int64_t bytes() const { return 3 * ground_.width; }

 private:
  const Image& image_;
  const Ground& ground_;
  std::vector<uint8_t> bar_;
};

bool is_plain() {
  return kernels::level_from_environment() == kernels::Level::off;
}

uint8_t round_to_byte(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp((sum + (1 << (precision - 1))) >> precision, 0, 255));
}

// The kernels' definitions.
void plain_pixels(const uint8_t* row, const kernels::ByteTaps& taps, uint8_t* target) {
  for (int64_t i = 0; i < taps.outputs(); ++i, target += 3) {
    for (int64_t c = 0; c < 3; ++c) {
      int32_t sum = 0;
      for (int64_t k = 0; k < taps.count[i]; ++k)
        sum += row[(taps.first[i] + k) * 3 + c] * taps.weights[i * taps.width + k];
      target[c] = round_to_byte(sum, taps.precision);
    }
  }
}

void plain_rows(const uint8_t* const* rows, const kernels::ByteTaps& taps, int64_t idx, uint8_t* target,
                int64_t length) {
  for (int64_t at = 0; at < length; ++at) {
    int32_t sum = 0;
    for (int64_t k = 0; k < taps.count[idx]; ++k) sum += rows[k][at] * taps.weights[idx * taps.width + k];
    target[at] = round_to_byte(sum, taps.precision);
  }
}

void resample_row_group(const uint8_t* const* rows, int64_t count, const BytePass& pass,
                        uint8_t* const* targets) {
  if (!pass.taps) {
    for (int64_t r = 0; r < count; ++r) std::copy_n(rows[r] + pass.begin * 3, pass.size * 3, targets[r]);
  } else if (is_plain()) {
    for (int64_t r = 0; r < count; ++r) plain_pixels(rows[r], *pass.taps, targets[r]);
  } else {
    kernels::resample_pixels(rows, count, *pass.taps, targets);
  }
}

void blend_rows(const uint8_t* const* rows, const kernels::ByteTaps& taps, int64_t idx, uint8_t* target,
                int64_t length) {
  if (is_plain())
    plain_rows(rows, taps, idx, target, length);
  else
    kernels::resample_rows(rows, taps, idx, target, length);
}

// One thread's share: rows [begin, end) of the result.
class Worker {
 public:
  Worker(const Rows& rows, const BytePass& vertical, const BytePass& horizontal, Image& result)
      : rows_(rows), vertical_(vertical), horizontal_(horizontal), result_(result) {
    if (rows.has_sides()) copies_.resize(kGroup * rows.bytes());
  }

  // Rows keep their height: horizontal sums of groups of rows.
  void horizontal_only(int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; y += kGroup)
      take(vertical_.begin + y, std::min(kGroup, end - y), [&](int64_t r) { return result_.row(y + r); });
  }

  // A ring of rows that have their width already, of which the vertical sums take the last few.
  void horizontal_first(int64_t begin, int64_t end) {
    const kernels::ByteTaps& taps = *vertical_.taps;
    const int64_t depth = taps.width + kGroup, length = result_.width * 3;
    std::vector<uint8_t> ring(depth * length);
    auto slot = [&](int64_t y) { return ring.data() + y % depth * length; };
    std::vector<const uint8_t*> window(taps.width);
    int64_t next = taps.first[begin];
    const int64_t last = taps.first[end - 1] + taps.count[end - 1];
    for (int64_t y = begin; y < end; ++y) {
      for (; next < taps.first[y] + taps.count[y]; next += std::min(kGroup, last - next))
        take(next, std::min(kGroup, last - next), [&](int64_t r) { return slot(next + r); });
      for (int64_t k = 0; k < taps.count[y]; ++k) window[k] = slot(taps.first[y] + k);
      blend_rows(window.data(), taps, y, result_.row(y), length);
    }
  }

  void vertical_first(int64_t begin, int64_t end) {
    const kernels::ByteTaps& taps = *vertical_.taps;
    int64_t from = horizontal_.begin, to = from + horizontal_.size;
    if (horizontal_.taps) from = horizontal_.taps->begin(), to = horizontal_.taps->end();
    std::vector<uint8_t> group(kGroup * rows_.bytes());
    std::vector<const uint8_t*> window(taps.width);
    for (int64_t y = begin; y < end; y += kGroup) {
      const int64_t count = std::min(kGroup, end - y);
      const uint8_t* sources[kGroup];
      uint8_t* targets[kGroup];
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t k = 0; k < taps.count[y + r]; ++k)
          window[k] = rows_.row(taps.first[y + r] + k, copies_.data()) + from * 3;
        sources[r] = group.data() + r * rows_.bytes();
        targets[r] = result_.row(y + r);
        blend_rows(window.data(), taps, y + r, group.data() + r * rows_.bytes() + from * 3, (to - from) * 3);
      }
      resample_row_group(sources, count, horizontal_, targets);
    }
  }

 private:
  static constexpr int64_t kGroup = 4;  // rows that the kernel takes at once

  template <typename Target>
  void take(int64_t y, int64_t count, const Target& target) {
    const uint8_t* sources[kGroup];
    uint8_t* targets[kGroup];
    for (int64_t r = 0; r < count; ++r) {
      sources[r] = rows_.row(y + r, copies_.data() + r * rows_.bytes());
      targets[r] = target(r);
    }
    resample_row_group(sources, count, horizontal_, targets);
  }

  const Rows& rows_;
  const BytePass &vertical_, &horizontal_;
  Image& result_;
  std::vector<uint8_t> copies_;
};

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

kernels::ByteTaps fixed_taps(const Taps<double>& taps, int precision, int64_t begin, int64_t size) {
  VLM_CHECK(begin >= 0 && size > 0 && begin + size <= taps.outputs());
  const double scale = static_cast<double>(int64_t{1} << precision);
  std::vector<int32_t> weights(size * taps.width);
  std::transform(taps.weights.begin() + begin * taps.width,
                 taps.weights.begin() + (begin + size) * taps.width, weights.begin(), [scale](double weight) {
                   return static_cast<int32_t>(weight * scale + (weight < 0 ? -0.5 : 0.5));
                 });
  return kernels::ByteTaps({taps.first.begin() + begin, taps.first.begin() + begin + size},
                           {taps.count.begin() + begin, taps.count.begin() + begin + size},
                           std::move(weights), taps.width, precision);
}

Image resample(const Image& image, const Ground& ground, const BytePass& vertical, const BytePass& horizontal,
               bool vertical_first) {
  const Rows rows(image, ground);
  if (vertical.taps && (vertical_first || !horizontal.taps) && rows.has_sides()) {
    // The vertical sums take many rows at once: they are laid out whole.
    const Image padded = pad(image, ground.height, ground.width, ground.top, ground.left, ground.fill);
    return resample(padded, {padded.height, padded.width, 0, 0, {}}, vertical, horizontal, vertical_first);
  }
  Image result = Image::of_size(vertical.outputs(), horizontal.outputs());
  const int64_t inputs_per_row = std::max<int64_t>(1, ground.height / result.height);
  parallel_for(0, result.height, std::max(kLeastRows, row_grain(rows.bytes() * inputs_per_row)),
               [&](int64_t begin, int64_t end) {
                 Worker worker(rows, vertical, horizontal, result);
                 if (!vertical.taps)
                   worker.horizontal_only(begin, end);
                 else if (vertical_first || !horizontal.taps)
                   worker.vertical_first(begin, end);
                 else
                   worker.horizontal_first(begin, end);
               });
  return result;
}

Image gather_pixels(const Image& image, const std::vector<int64_t>& rows,
                    const std::vector<int64_t>& columns) {
  Image result = Image::of_size(static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()));
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
