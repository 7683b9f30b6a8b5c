// For the tests of attention's gradients: rows of numbers, and the gradients in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/half.h"
#include "kernels/attention_gradient.h"
#include "kernels/floats.h"

namespace vlm::kernels {

// Rows of numbers that bfloat16 holds, [batch, tokens, heads, width], with gaps between.
struct Rows {
  Rows(int64_t batch, int64_t tokens, int64_t heads, int64_t width, unsigned seed)
      : strides{tokens * heads * (width + 3), heads * (width + 3), width + 3},
        floats(Floats::random(batch * strides[0], seed, 1)) {
    for (int64_t idx = 0; idx < floats.size(); ++idx) floats[idx] = bf16_to_float(float_to_bf16(floats[idx]));
  }
  double at(int64_t batch, int64_t token, int64_t head, int64_t idx) const {
    return floats[batch * strides[0] + token * strides[1] + head * strides[2] + idx];
  }
  int64_t strides[3];
  Floats floats;
};

inline bool is_seen(const AttentionGradient& args, int64_t batch, int64_t query, int64_t key) {
  if (args.key_mask && !args.key_mask[batch * args.keys + key]) return false;
  if (!args.is_causal || key < args.prefix) return true;
  const int64_t position = args.keys - args.queries + query;
  return key <= position && (args.window == 0 || key > position - args.window);
}

// What a call works on, and what it should write.
struct GradientCase {
  // `args` has the flags; sizes and pointers are filled in.
  GradientCase(const AttentionGradient& of, unsigned seed)
      : args(of),
        q(of.batch, of.queries, of.heads, of.width, seed),
        k(of.batch, of.keys, of.groups, of.width, seed + 1),
        v(of.batch, of.keys, of.groups, of.value_width, seed + 2),
        dy(of.batch, of.queries, of.heads, of.value_width, seed + 3),
        dq(of.batch * of.queries * of.heads * of.width),
        dk(of.batch * of.keys * of.heads * of.width),
        dv(of.batch * of.keys * of.heads * of.value_width) {
    args.q = q.floats.data(), args.k = k.floats.data(), args.v = v.floats.data(), args.dy = dy.floats.data();
    std::copy_n(q.strides, 3, args.q_strides), std::copy_n(k.strides, 3, args.k_strides);
    std::copy_n(v.strides, 3, args.v_strides), std::copy_n(dy.strides, 3, args.dy_strides);
    args.dq = dq.data(), args.dk = dk.data(), args.dv = dv.data();
    for (int64_t idx = 0; idx < dq.size(); ++idx) dq[idx] = 77.0f;
  }

  struct Wanted {
    std::vector<double> dq, dk, dv;
  };
  Wanted wanted() const {
    const int64_t heads = args.heads, width = args.width, value_width = args.value_width;
    Wanted sums{std::vector<double>(static_cast<size_t>(dq.size())),
                std::vector<double>(static_cast<size_t>(dk.size())),
                std::vector<double>(static_cast<size_t>(dv.size()))};
    auto row = [&](std::vector<double>& of, int64_t tokens, int64_t batch, int64_t token, int64_t head,
                   int64_t row_width) {
      return of.data() + ((batch * tokens + token) * heads + head) * row_width;
    };
    const double scale = args.scale;
    for (int64_t batch = 0; batch < args.batch; ++batch)
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t query = 0; query < args.queries; ++query) {
          const int64_t group = head / (heads / args.groups);
          std::vector<double> scores(static_cast<size_t>(args.keys), -INFINITY), slopes(scores);
          double largest = -INFINITY, sum = 0, mean = 0;
          for (int64_t key = 0; key < args.keys; ++key) {
            double score = 0, slope = 0;
            for (int64_t idx = 0; idx < width; ++idx)
              score += scale * q.at(batch, query, head, idx) * k.at(batch, key, group, idx);
            for (int64_t idx = 0; idx < value_width; ++idx)
              slope += dy.at(batch, query, head, idx) * v.at(batch, key, group, idx);
            slopes[static_cast<size_t>(key)] = slope;
            if (!is_seen(args, batch, query, key)) continue;
            scores[static_cast<size_t>(key)] = score;
            largest = std::max(largest, score);
          }
          if (std::isinf(largest)) continue;
          for (double& score : scores) score = std::exp(score - largest), sum += score;
          for (size_t key = 0; key < scores.size(); ++key)
            scores[key] /= sum, mean += scores[key] * slopes[key];
          for (int64_t key = 0; key < args.keys; ++key) {
            const double share = scores[static_cast<size_t>(key)];
            const double slope = scale * share * (slopes[static_cast<size_t>(key)] - mean);
            for (int64_t idx = 0; idx < width; ++idx) {
              row(sums.dq, args.queries, batch, query, head, width)[idx] +=
                  slope * k.at(batch, key, group, idx);
              row(sums.dk, args.keys, batch, key, head, width)[idx] += slope * q.at(batch, query, head, idx);
            }
            for (int64_t idx = 0; idx < value_width; ++idx)
              row(sums.dv, args.keys, batch, key, head, value_width)[idx] +=
                  share * dy.at(batch, query, head, idx);
          }
        }
    return sums;
  }

  AttentionGradient args;
  Rows q, k, v, dy;
  Floats dq, dk, dv;
};

inline double largest_of(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

}  // namespace vlm::kernels
