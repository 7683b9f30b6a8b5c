#include "kernels/attention_gradient.h"

#include <algorithm>
#include <limits>

#include "kernels/factors.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_gradient.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/math-inl.h"

#ifndef VLM_KERNELS_ATTENTION_GRADIENT_ONCE
#define VLM_KERNELS_ATTENTION_GRADIENT_ONCE
namespace vlm::kernels {

constexpr int64_t kLanesOfRow = 16;  // rows of scores are whole vectors of any instruction set
constexpr float kHiddenScore = -std::numeric_limits<float>::infinity();

}  // namespace vlm::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;
static_assert(kLanesOfRow % HWY_MIN(HWY_LANES(float), 16) == 0);

// Scores of `count` keys, scaled here by a positive number, to their shares.
void Softmax(float* scores, int64_t count, float scale) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VFloat most = hn::Set(d, kHiddenScore);
  for (int64_t key = 0; key < count; key += lanes) most = hn::Max(most, hn::LoadU(d, scores + key));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  if (largest == kHiddenScore) {
    std::fill_n(scores, count, 0.0f);
    return;
  }
  const VFloat factor = hn::Set(d, scale), shift = hn::Set(d, largest);
  VFloat sum = hn::Zero(d);
  for (int64_t key = 0; key < count; key += lanes) {
    VFloat share = Exp(d, hn::Mul(hn::Sub(hn::LoadU(d, scores + key), shift), factor));
    sum = hn::Add(sum, share);
    hn::StoreU(share, d, scores + key);
  }
  const VFloat inverse = hn::Set(d, 1.0f / hn::GetLane(hn::SumOfLanes(d, sum)));
  for (int64_t key = 0; key < count; key += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, scores + key), inverse), d, scores + key);
}

// Gradients of shares to those of scores before scaling.
void SoftmaxGradient(const float* shares, float* gradients, int64_t count, float scale) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VFloat sum = hn::Zero(d);
  for (int64_t key = 0; key < count; key += lanes)
    sum = hn::MulAdd(hn::LoadU(d, shares + key), hn::LoadU(d, gradients + key), sum);
  const VFloat mean = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum))), factor = hn::Set(d, scale);
  for (int64_t key = 0; key < count; key += lanes) {
    VFloat share = hn::Mul(hn::LoadU(d, shares + key), factor);
    hn::StoreU(hn::Mul(share, hn::Sub(hn::LoadU(d, gradients + key), mean)), d, gradients + key);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(Softmax);
HWY_EXPORT(SoftmaxGradient);

namespace {

// One head of one sequence.
struct Head {
  const AttentionGradient& args;
  const float *q, *k, *v, *dy;
  float *dq, *dk, *dv;
  int64_t sequence;

  Head(const AttentionGradient& of, int64_t batch, int64_t head) : args(of), sequence(batch) {
    const int64_t group = head / (of.heads / of.groups);
    auto at = [&](const float* data, const int64_t(&strides)[3], int64_t idx) {
      return data + batch * strides[0] + idx * strides[2];
    };
    q = at(of.q, of.q_strides, head), dy = at(of.dy, of.dy_strides, head);
    k = at(of.k, of.k_strides, group), v = at(of.v, of.v_strides, group);
    dq = of.dq + (batch * of.queries * of.heads + head) * of.width;
    dk = of.dk + (batch * of.keys * of.heads + head) * of.width;
    dv = of.dv + (batch * of.keys * of.heads + head) * of.value_width;
  }

  int64_t position(int64_t query) const { return args.keys - args.queries + query; }
  int64_t first_seen(int64_t query) const {
    return args.is_causal && args.window > 0 ? std::max<int64_t>(position(query) - args.window + 1, 0) : 0;
  }
  int64_t end_seen(int64_t query) const {
    return args.is_causal ? std::min(position(query) + 1, args.keys) : args.keys;
  }

  // Hides what the query does not see of keys [first, end).
  void hide(float* scores, int64_t query, int64_t first, int64_t end) const {
    const int64_t prefix = args.is_causal ? args.prefix : 0;
    auto hide_range = [&](int64_t from, int64_t to) {
      from = std::max({from, prefix, first}), to = std::min(to, end);
      if (from < to) std::fill(scores + from - first, scores + to - first, kHiddenScore);
    };
    hide_range(0, first_seen(query));
    hide_range(end_seen(query), end);
    if (!args.key_mask) return;
    const bool* mask = args.key_mask + sequence * args.keys;
    for (int64_t key = first; key < end; ++key)
      if (!mask[key]) scores[key - first] = kHiddenScore;
  }

  void zero_keys() const {
    for (int64_t key = 0; key < args.keys; ++key) {
      std::fill_n(dk + key * args.heads * args.width, args.width, 0.0f);
      std::fill_n(dv + key * args.heads * args.value_width, args.value_width, 0.0f);
    }
  }

  // Adds what queries [begin, begin + rows) give.
  void add(int64_t begin, int64_t rows) const {
    const int64_t prefix = args.is_causal ? std::min(args.prefix, args.keys) : 0;
    const int64_t first = prefix > 0 ? 0 : first_seen(begin);
    const int64_t end = std::max(end_seen(begin + rows - 1), prefix), count = end - first;
    float* dq_rows = dq + begin * args.heads * args.width;
    const int64_t dq_stride = args.heads * args.width;
    if (count <= 0) {
      for (int64_t row = 0; row < rows; ++row) std::fill_n(dq_rows + row * dq_stride, args.width, 0.0f);
      return;
    }
    const int64_t stride = (count + kLanesOfRow - 1) / kLanesOfRow * kLanesOfRow;
    static thread_local Scratch scratch;
    float* shares = scratch.get<float>(2 * rows * stride + count * std::max(args.width, args.value_width));
    float *gradients = shares + rows * stride, *part = gradients + rows * stride;

    const int64_t q_stride = args.q_strides[1], k_stride = args.k_strides[1];
    const int64_t v_stride = args.v_strides[1], dy_stride = args.dy_strides[1];
    const float *q_rows = q + begin * q_stride, *dy_rows = dy + begin * dy_stride;
    const float *k_rows = k + first * k_stride, *v_rows = v + first * v_stride;
    auto product = [&](const Factor& a, const Factor& b, float* y, int64_t y_stride, int64_t y_rows,
                       int64_t out, int64_t in) {
      multiply_factors({a, b, y, y_stride, y_rows, out, in, nullptr, args.rounds});
    };
    product({q_rows, q_stride}, {k_rows, k_stride}, shares, stride, rows, count, args.width);
    product({dy_rows, dy_stride}, {v_rows, v_stride}, gradients, stride, rows, count, args.value_width);
    for (int64_t row = 0; row < rows; ++row) {
      float *own = shares + row * stride, *gradient = gradients + row * stride;
      std::fill(own + count, own + stride, kHiddenScore);
      std::fill(gradient + count, gradient + stride, 0.0f);
      hide(own, begin + row, first, end);
      HWY_DYNAMIC_DISPATCH(Softmax)(own, stride, args.scale);
      HWY_DYNAMIC_DISPATCH(SoftmaxGradient)(own, gradient, stride, args.scale);
    }
    product({gradients, stride}, {k_rows, k_stride, true}, dq_rows, dq_stride, rows, args.width, count);
    auto add_to_keys = [&](const float* of_scores, const float* of_queries, int64_t queries_stride, float* to,
                           int64_t width) {
      product({of_scores, stride, true}, {of_queries, queries_stride, true}, part, width, count, width, rows);
      for (int64_t key = 0; key < count; ++key)
        for (int64_t idx = 0; idx < width; ++idx)
          to[(first + key) * args.heads * width + idx] += part[key * width + idx];
    };
    add_to_keys(gradients, q_rows, q_stride, dk, args.width);
    add_to_keys(shares, dy_rows, dy_stride, dv, args.value_width);
  }
};

}  // namespace

void attention_gradient(const AttentionGradient& args) {
  // Few enough that both their shares and the gradients of these stay in a core's caches.
  constexpr int64_t kMostScores = int64_t{1} << 18;
  const int64_t at_once = std::clamp<int64_t>(kMostScores / args.keys, 64, 256);
  const int64_t operations = 10 * args.batch * args.heads * args.queries * args.keys * args.width;
  for_each_balanced(args.batch * args.heads, operations, [&](int64_t task) {
    const Head head(args, task / args.heads, task % args.heads);
    head.zero_keys();
    for (int64_t begin = 0; begin < args.queries; begin += at_once)
      head.add(begin, std::min(at_once, args.queries - begin));
  });
}

}  // namespace vlm::kernels
#endif
