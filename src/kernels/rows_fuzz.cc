// libFuzzer target: norms, rotary positions, functions of one element and the rows of caches against plain
// loops.
#include <cstring>

#include "base/half.h"
#include "kernels/definitions.h"
#include "kernels/fuzzing.h"
#include "kernels/kv_rows.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

namespace vlm::kernels {
namespace {

// Rows of `width` that are `stride` apart: together enough for several threads at times.
struct Shape {
  int64_t rows, width, stride;
  explicit Shape(Choices& choices) : rows(choices.size("rows", 40)), width(choices.size("width", 9000)) {
    rows = std::min(rows, std::max<int64_t>(1, (1 << 16) / width));
    stride = width + choices.below("gap", 4);
  }
  int64_t count() const { return (rows - 1) * stride + width; }
};

void fuzz_norm(Choices& choices, bool is_rms) {
  const Shape shape(choices);
  const Floats x = filled(choices, shape.count(), 1e15f), weight = filled(choices, shape.width, 1e15f),
               bias = filled(choices, shape.width, 1e15f);
  const float* weight_or_null = is_rms || choices.flag("weight") ? weight.data() : nullptr;
  const float* bias_or_null = !is_rms && choices.flag("bias") ? bias.data() : nullptr;
  const float eps = choices.of("eps", {1e-5f, 1e-6f, 1e-12f});
  Guarded<float> y(shape.rows, shape.width, shape.width, choices.below("y shift", 4));
  if (is_rms)
    rms_norm(x.data(), shape.stride, weight_or_null, eps, y.data(), shape.rows, shape.width);
  else
    layer_norm(x.data(), shape.stride, weight_or_null, bias_or_null, eps, y.data(), shape.rows, shape.width);
  y.check();
  const double count = static_cast<double>(shape.width);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const float* from = x.data() + row * shape.stride;
    double sum = 0, magnitude = 0, squares = 0;
    for (int64_t col = 0; col < shape.width; ++col) sum += from[col], magnitude += std::fabs(from[col]);
    const double mean = is_rms ? 0.0 : sum / count;
    for (int64_t col = 0; col < shape.width; ++col) squares += (from[col] - mean) * (from[col] - mean);
    const double variance = squares / count, root = std::sqrt(variance + eps);
    // The mean misses by a rounding for each sum, and so much shifts every value; the variance misses by the
    // square of that, and by a rounding for each difference, square and sum. Its root has half of that.
    const double shifted = is_rms ? 0.0 : (count + 1) * kUnit * magnitude / count + kLeast;
    const double scaled = std::min(
        (count + 6) * kUnit / 2 + (shifted * shifted + count * kLeast) / (2 * (variance + eps)) + 5 * kUnit,
        1.0);
    for (int64_t col = 0; col < shape.width; ++col) {
      const double by = weight_or_null ? weight[col] : 1.0, plus = bias_or_null ? bias[col] : 0.0;
      const double normed = (from[col] - mean) / root, wanted = normed * by + plus;
      const double bound = std::fabs(by) * (std::fabs(normed) * scaled + 1.01 * shifted / root) +
                           kUnit * (std::fabs(wanted) + std::fabs(normed * by)) +
                           (1 + std::fabs(by)) * kLeast;
      expect_near(y.row(row)[col], wanted, bound, "norm", row, col);
    }
  }
}

void fuzz_rope(Choices& choices) {
  Rope args{};
  args.tokens = choices.size("tokens", 30);
  args.heads = 1 + choices.below("heads", 9);
  args.half = choices.size("half", 140);
  args.width = 2 * args.half + choices.below("rest", 20);
  args.head_stride = args.width + choices.below("head gap", 4);
  args.token_stride = args.heads * args.head_stride + choices.below("token gap", 4);
  const Floats x = filled(
      choices, (args.tokens - 1) * args.token_stride + (args.heads - 1) * args.head_stride + args.width);
  const Floats cos = filled(choices, args.tokens * args.half, 1.0f),
               sin = filled(choices, args.tokens * args.half, 1.0f);
  Guarded<float> y(args.tokens * args.heads, args.width, args.width, choices.below("y shift", 4));
  args.x = x.data(), args.cos = cos.data(), args.sin = sin.data(), args.y = y.data();
  rope(args);
  y.check();
  for (int64_t row = 0; row < args.tokens * args.heads; ++row) {
    const int64_t token = row / args.heads;
    const float* from = x.data() + token * args.token_stride + row % args.heads * args.head_stride;
    auto expect_rotated = [&](int64_t at, double one, double two) {
      expect_near(y.row(row)[at], one + two, 2 * kUnit * (std::fabs(one) + std::fabs(two)) + 2 * kLeast,
                  "rope", row, at);
    };
    for (int64_t r = 0; r < args.half; ++r) {
      const double c = cos[token * args.half + r], s = sin[token * args.half + r];
      expect_rotated(r, from[r] * c, -from[args.half + r] * s);
      expect_rotated(args.half + r, from[args.half + r] * c, from[r] * s);
    }
    for (int64_t at = 2 * args.half; at < args.width; ++at)
      expect_near(y.row(row)[at], from[at], 0.0, "rope", row, at);
  }
}

void fuzz_function(Choices& choices) {
  const Function function =
      choices.of("function", {Function::identity, Function::relu, Function::relu_squared, Function::silu,
                              Function::tanh, Function::gelu_erf, Function::gelu_tanh, Function::gelu_quick});
  // The limit at minus infinity is a product of zero and infinity for the others.
  const bool takes_infinities = function == Function::identity || function == Function::relu ||
                                function == Function::relu_squared || function == Function::tanh;
  const Shape shape(choices);
  const Floats x = filled(choices, shape.count(), 1e15f, takes_infinities);
  const int64_t factor_stride = shape.width + choices.below("factor gap", 4);
  const bool has_factor = choices.flag("factor");
  const Floats factor =
      filled(choices, has_factor ? (shape.rows - 1) * factor_stride + shape.width : 0, 1e6f);
  const int64_t y_stride = shape.width + choices.below("y gap", 4);
  Guarded<float> y(shape.rows, shape.width, y_stride, choices.below("y shift", 4));
  const float* from = x.data();
  int64_t from_stride = shape.stride;
  if (choices.flag("in place")) {
    for (int64_t row = 0; row < shape.rows; ++row)
      std::copy_n(x.data() + row * shape.stride, shape.width, y.data() + row * y_stride);
    from = y.data(), from_stride = y_stride;
  }
  const Elements elements{function,      from,     from_stride, has_factor ? factor.data() : nullptr,
                          factor_stride, y.data(), y_stride,    shape.rows,
                          shape.width};
  (choices.flag("in this thread") ? apply_in_this_thread : apply)(elements);
  y.check();
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t col = 0; col < shape.width; ++col) {
      const double at = x[row * shape.stride + col],
                   by = has_factor ? factor[row * factor_stride + col] : 1.0;
      const double value = exact(function, at);
      // As the header says (a square is larger than its argument), and the product's rounding.
      const double bound =
          4e-7 * std::max({1.0, std::fabs(at), value}) * std::fabs(by) + kUnit * std::fabs(value * by);
      expect_near(y.row(row)[col], value * by, bound + kLeast, "function", row, col);
    }
}

void fuzz_add(Choices& choices) {
  const int64_t count =
      choices.flag("long") ? 65000 + choices.size("count", 3000) : choices.size("count", 3000);
  const Floats x = filled(choices, count, 1e30f, true), before = filled(choices, count, 1e30f, true);
  Guarded<float> y(1, count, count, choices.below("y shift", 4));
  std::copy_n(before.data(), count, y.data());
  add(x.data(), y.data(), count);
  y.check();
  for (int64_t idx = 0; idx < count; ++idx)
    expect_near(y.row(0)[idx], x[idx] + before[idx], 0.0, "sum", 0, idx);
}

// One row of a cache: its values, and nothing but zeros behind them within its last group.
void check_kept(KvType type, const float* from, int64_t width, const void* kept, const float* scales,
                int64_t row) {
  for (int64_t idx = 0; idx < kv_row_width(type, width); ++idx) {
    if (type == KvType::f32)
      expect_near(static_cast<const float*>(kept)[idx], from[idx], 0.0, "kept", row, idx);
    if (type == KvType::f16) {
      const uint16_t wanted = float_to_half(std::clamp(from[idx], -65504.0f, 65504.0f));
      expect_near(half_to_float(static_cast<const uint16_t*>(kept)[idx]), half_to_float(wanted), 0.0, "kept",
                  row, idx);
    }
    if (type != KvType::int8) continue;
    const int64_t first = idx / kKvGroup * kKvGroup;
    float largest = 0;
    for (int64_t at = first; at < std::min(first + kKvGroup, width); ++at)
      largest = std::max(largest, std::fabs(from[at]));
    const double scale = scales[idx / kKvGroup], value = static_cast<const int8_t*>(kept)[idx] * scale;
    expect_near(scale, largest / 127.0f, 0.0, "scale", row, idx);
    // Half a step; the quotient has three roundings of up to 127 steps, and the least numbers none to lose.
    const bool is_kept = idx < width && scale >= std::numeric_limits<float>::min();
    expect_near(value, is_kept ? from[idx] : 0.0f,
                is_kept ? (0.5 + 3 * 127 * kUnit) * scale + 128 * kLeast : 0.0, "kept", row, idx);
  }
}

template <typename T>
void fuzz_kept(Choices& choices, KvType type) {
  const int64_t tokens = choices.size("tokens", 40), groups = 1 + choices.below("groups", 5),
                width = choices.size("width", 300);
  const int64_t group_stride = width + choices.below("gap", 4), token_stride = groups * group_stride;
  const Floats from =
      filled(choices, tokens * token_stride - (group_stride - width), 1e30f, type == KvType::f16);
  const int64_t row = kv_row_width(type, width), scale_count = (width + kKvGroup - 1) / kKvGroup;
  const int64_t stride = row + choices.below("kept gap", 4),
                scale_stride = scale_count + choices.below("scale gap", 3);
  Guarded<T> kept(tokens * groups, row, stride, choices.below("kept shift", 4));
  Guarded<float> scales(tokens * groups, type == KvType::int8 ? scale_count : 0, scale_stride, 1);
  const bool is_by_head = choices.flag("by head");
  auto place = [&](int64_t token, int64_t group) {
    return is_by_head ? group * tokens + token : token * groups + group;
  };
  store_kv(type, from.data(), token_stride, group_stride, tokens, groups, width,
           {kept.data(),
            {place(1, 0) * stride, place(0, 1) * stride},
            type == KvType::int8 ? scales.data() : nullptr,
            {place(1, 0) * scale_stride, place(0, 1) * scale_stride},
            0,
            0});
  kept.check();
  scales.check();
  for (int64_t token = 0; token < tokens; ++token)
    for (int64_t group = 0; group < groups; ++group)
      check_kept(type, from.data() + token * token_stride + group * group_stride, width,
                 kept.row(place(token, group)), scales.row(place(token, group)), place(token, group));
}

void fuzz_tiles(Choices& choices) {
  const int64_t tokens = choices.size("tokens", 200), groups = 1 + choices.below("groups", 5),
                width = choices.size("width", 300), tile = choices.of("tile", {kKeyTile, kValueTile}),
                first = choices.below("first", tile);
  const Floats from = filled(choices, tokens * groups * width, 1e30f);
  const int64_t padded = kv_row_width(KvType::bf16, width), tiles = (first + tokens + tile - 1) / tile;
  constexpr uint16_t kUntouched = 0xabcd;
  std::vector<uint16_t> kept(static_cast<size_t>(groups * tiles * tile * padded), kUntouched), wanted = kept;
  for (int64_t token = 0; token < tokens; ++token)
    for (int64_t group = 0; group < groups; ++group)
      for (int64_t idx = 0; idx < padded; ++idx) {
        const int64_t place = (first + token) % tile, tile_idx = group * tiles + (first + token) / tile;
        const float value = idx < width ? from[(token * groups + group) * width + idx] : 0.0f;
        wanted[static_cast<size_t>(tile_idx * tile * padded + (idx / kKvGroup * tile + place) * kKvGroup +
                                   idx % kKvGroup)] = float_to_bf16(value);
      }
  store_kv(KvType::bf16, from.data(), groups * width, width, tokens, groups, width,
           {kept.data(), {tile * padded, tiles * tile * padded}, nullptr, {0, 0}, tile, first});
  for (size_t at = 0; at < kept.size(); ++at)
    expect_near(kept[at], wanted[at], 0.0, "kept", 0, static_cast<int64_t>(at));
}

void fuzz(Choices& choices) {
  switch (choices.below("kernel", 6)) {
    case 0:
      return fuzz_norm(choices, true);
    case 1:
      return fuzz_norm(choices, false);
    case 2:
      return fuzz_rope(choices);
    case 3:
      return fuzz_function(choices);
    case 4:
      return fuzz_add(choices);
    default:
      switch (choices.of("type", {KvType::f32, KvType::f16, KvType::int8, KvType::bf16})) {
        case KvType::f32:
          return fuzz_kept<float>(choices, KvType::f32);
        case KvType::f16:
          return fuzz_kept<uint16_t>(choices, KvType::f16);
        case KvType::int8:
          return fuzz_kept<int8_t>(choices, KvType::int8);
        case KvType::bf16:
          return fuzz_tiles(choices);
      }
  }
}

}  // namespace
}  // namespace vlm::kernels

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::kernels::run_case(data, size, vlm::kernels::fuzz);
}
