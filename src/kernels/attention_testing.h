// For the tests and the fuzz target of attention: keys and values that own their memory, and the definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/half.h"
#include "kernels/attention.h"

namespace vlm::kernels {

// Where rows lie: those of a head one behind the other, or those of a token; `gap` values behind each, and
// the first one `shift` values into its memory.
struct RowLayout {
  bool is_by_head = true;
  int64_t gap = 0;
  int64_t shift = 0;
};

// Keys or values [batch, keys, groups, width] as a cache keeps them, and what they are in float64. The layout
// is of rows: bfloat16 comes in tiles, of which only the groups and the shift can be chosen.
struct Kept {
  KvRows rows{};
  std::vector<double> values;  // [batch, keys, groups, width]
  std::vector<uint8_t> memory;
  std::vector<float> scales;
  int64_t batch, keys, groups, width, value_bytes;

  Kept(KvType type, int64_t batch, int64_t keys, int64_t groups, int64_t width, const float* from,
       const RowLayout& layout = {}, int64_t tile = kKeyTile)
      : batch(batch), keys(keys), groups(groups), width(width) {
    value_bytes = type == KvType::f32 ? 4 : type == KvType::int8 ? 1 : 2;
    if (type == KvType::bf16) {
      keep_tiles(from, layout, tile);
      for (int64_t at = 0; at < batch * keys * groups * width; ++at) values.push_back(stored(type, at).value);
      return;
    }
    const int64_t row = kv_row_width(type, width) + layout.gap,
                  row_scales = (width + kKvGroup - 1) / kKvGroup;
    // All ones where nothing is stored: NaN in both floats. No byte more than the last row takes.
    const int64_t count = batch * keys * groups * row - layout.gap + layout.shift;
    memory.assign(static_cast<size_t>(std::max(count, layout.shift) * value_bytes), 0xff);
    scales.assign(static_cast<size_t>(batch * keys * groups * row_scales), NAN);
    uint8_t* first = memory.data() + layout.shift * value_bytes;
    rows.data = first;
    rows.scales = type == KvType::int8 ? scales.data() : nullptr;
    auto set_strides = [&](int64_t(&strides)[3], int64_t size) {
      strides[0] = keys * groups * size;
      strides[1] = layout.is_by_head ? size : groups * size;
      strides[2] = layout.is_by_head ? keys * size : size;
    };
    set_strides(rows.strides, row);
    set_strides(rows.scale_strides, row_scales);
    for (int64_t idx = 0; idx < batch; ++idx) {
      const KvTarget to{first + idx * rows.strides[0] * value_bytes,
                        {rows.strides[1], rows.strides[2]},
                        scales.data() + idx * rows.scale_strides[0],
                        {rows.scale_strides[1], rows.scale_strides[2]},
                        0,
                        0};
      store_kv(type, from + idx * keys * groups * width, groups * width, width, keys, groups, width, to);
    }
    for (int64_t at = 0; at < batch * keys * groups * width; ++at) values.push_back(stored(type, at).value);
  }
  Kept(Kept&&) = default;  // a copy would point into the original

  // Where nothing is stored: NaN.
  void keep_tiles(const float* from, const RowLayout& layout, int64_t tile) {
    const int64_t tiles = (keys + tile - 1) / tile, size = tile * kv_row_width(KvType::bf16, width);
    memory.assign(static_cast<size_t>((batch * tiles * groups * size + layout.shift) * value_bytes), 0xff);
    uint8_t* first = memory.data() + layout.shift * value_bytes;
    rows.data = first;
    rows.tile = tile;
    rows.strides[0] = tiles * groups * size;
    rows.strides[1] = layout.is_by_head ? size : groups * size;
    rows.strides[2] = layout.is_by_head ? tiles * size : size;
    // In two goes, as appending does.
    const int64_t half = keys / 3;
    for (int64_t idx = 0; idx < batch; ++idx)
      for (auto [begin, count] : {std::pair{int64_t{0}, half}, {half, keys - half}}) {
        const KvTarget to{first + idx * rows.strides[0] * value_bytes,
                          {rows.strides[1], rows.strides[2]},
                          nullptr,
                          {0, 0},
                          tile,
                          begin};
        store_kv(KvType::bf16, from + (idx * keys + begin) * groups * width, groups * width, width, count,
                 groups, width, to);
      }
  }

  struct Stored {
    double value, scale;  // of int8
  };
  // The value at [batch, key, group, feature], read back.
  Stored stored(KvType type, int64_t at) const {
    const int64_t feature = at % width, group = at / width % groups, key = at / width / groups % keys;
    if (type == KvType::bf16) {
      const int64_t line = feature / kKvGroup * rows.tile + key % rows.tile;
      const uint8_t* from =
          static_cast<const uint8_t*>(rows.data) +
          value_bytes * (at / width / groups / keys * rows.strides[0] + key / rows.tile * rows.strides[1] +
                         group * rows.strides[2] + line * kKvGroup + feature % kKvGroup);
      uint16_t bits = 0;
      std::memcpy(&bits, from, 2);
      return {bf16_to_float(bits), 0.0};
    }
    auto place = [&](const int64_t(&strides)[3]) {
      return at / width / groups / keys * strides[0] + key * strides[1] + group * strides[2];
    };
    const uint8_t* from =
        static_cast<const uint8_t*>(rows.data) + (place(rows.strides) + feature) * value_bytes;
    if (type == KvType::int8) {
      const double scale = rows.scales[place(rows.scale_strides) + feature / kKvGroup];
      return {static_cast<int8_t>(*from) * scale, scale};
    }
    float single = 0;
    uint16_t half = 0;
    std::memcpy(&single, from, type == KvType::f32 ? 4 : 0);
    std::memcpy(&half, from, 2);
    return {type == KvType::f32 ? single : half_to_float(half), 0.0};
  }
  const double* at(int64_t idx, int64_t key, int64_t group) const {
    return values.data() + ((idx * keys + key) * groups + group) * width;
  }
};

inline bool is_seen(const Attention& args, int64_t batch, int64_t query, int64_t key) {
  const int64_t position = args.keys - args.queries + query;
  if (args.key_mask && !args.key_mask[batch * args.keys + key]) return false;
  return !args.is_causal || key < args.prefix ||
         (key <= position && (args.window == 0 || key > position - args.window));
}

// By how much of its magnitude a product may miss because both factors are rounded to bfloat16: from 8 binary
// digits, by up to 2^-8 of each.
inline double rounding_of_products(const Attention& args) {
  return args.may_round ? 2.01 * 0x1p-8 : 0.0;
}

// Scores of one query of one head, minus infinity where it does not look. `errors`, when it is not null: by
// how much float32 may miss each, in any order of its sum.
inline std::vector<double> exact_scores(const Attention& args, const Kept& k, int64_t batch, int64_t query,
                                        int64_t head, std::vector<double>* errors = nullptr) {
  constexpr double kUnit = 0x1p-24;
  const int64_t group = head / (args.heads / args.groups), position = args.keys - args.queries + query;
  const float* q = args.q + batch * args.q_strides[0] + query * args.q_strides[1] + head * args.q_strides[2];
  std::vector<double> scores(static_cast<size_t>(args.keys), -std::numeric_limits<double>::infinity());
  if (errors) errors->assign(scores.size(), 0.0);
  for (int64_t key = 0; key < args.keys; ++key) {
    if (!is_seen(args, batch, query, key)) continue;
    double score = 0, magnitude = 0;
    for (int64_t idx = 0; idx < args.width; ++idx) {
      const double term = q[idx] * k.at(batch, key, group)[idx];
      score += term;
      magnitude += std::fabs(term);
    }
    score *= args.scale;
    const double rounding = rounding_of_products(args) * magnitude * std::fabs(args.scale);
    // A rounding for q * scale, one for a key of 8 bits, one for each term and each sum; and what is lost
    // below the least normal number.
    const double count = static_cast<double>(args.width);
    double error = (count + 3) * (kUnit * magnitude * std::fabs(args.scale) + 0x1p-126) + rounding;
    if (args.softcap > 0) {
      error +=
          2 * kUnit * std::fabs(score) + args.softcap * 3e-7;  // the quotient's, tanh's and the product's
      score = args.softcap * std::tanh(score / args.softcap);
    }
    if (args.alibi_slopes) {
      const double slope = args.alibi_slopes[head] * static_cast<double>(key - position);
      score += slope;
      error += kUnit * (std::fabs(slope) + std::fabs(score));
    }
    if (args.bias) {
      score += args.bias[batch * args.bias_strides[0] + head * args.bias_strides[1] +
                         query * args.bias_strides[2] + key];
      error += kUnit * std::fabs(score);
    }
    scores[static_cast<size_t>(key)] = score;
    if (errors) (*errors)[static_cast<size_t>(key)] = error;
  }
  return scores;
}

// One query of one head.
inline std::vector<double> exact(const Attention& args, const Kept& k, const Kept& v, int64_t batch,
                                 int64_t query, int64_t head) {
  const std::vector<double> scores = exact_scores(args, k, batch, query, head);
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  for (double score : scores) largest = std::max(largest, score);
  std::vector<double> sums(static_cast<size_t>(args.value_width));
  for (int64_t key = 0; key < args.keys && std::isfinite(largest); ++key) {
    const double weight = std::exp(scores[static_cast<size_t>(key)] - largest);
    total += weight;
    for (int64_t idx = 0; idx < args.value_width; ++idx)
      sums[static_cast<size_t>(idx)] += weight * v.at(batch, key, head / (args.heads / args.groups))[idx];
  }
  for (double& sum : sums) sum = total > 0 ? sum / total : 0.0;
  return sums;
}

}  // namespace vlm::kernels
