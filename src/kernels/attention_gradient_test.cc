#include "kernels/attention_gradient.h"

#include "base/half.h"
#include "kernels/factors.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

struct Sizes {
  int64_t batch, queries, keys, heads, groups, width, value_width;
};

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

bool is_seen(const AttentionGradient& args, int64_t batch, int64_t query, int64_t key) {
  if (args.key_mask && !args.key_mask[batch * args.keys + key]) return false;
  if (!args.is_causal || key < args.prefix) return true;
  const int64_t position = args.keys - args.queries + query;
  return key <= position && (args.window == 0 || key > position - args.window);
}

void check(const Sizes& sizes, AttentionGradient args) {
  const auto [batch, queries, keys, heads, groups, width, value_width] = sizes;
  const Rows q(batch, queries, heads, width, 1), k(batch, keys, groups, width, 2),
      v(batch, keys, groups, value_width, 3);
  const Rows dy(batch, queries, heads, value_width, 4);
  Floats dq(batch * queries * heads * width), dk(batch * keys * heads * width),
      dv(batch * keys * heads * value_width);
  args.q = q.floats.data(), args.k = k.floats.data(), args.v = v.floats.data(), args.dy = dy.floats.data();
  std::copy_n(q.strides, 3, args.q_strides), std::copy_n(k.strides, 3, args.k_strides);
  std::copy_n(v.strides, 3, args.v_strides), std::copy_n(dy.strides, 3, args.dy_strides);
  args.dq = dq.data(), args.dk = dk.data(), args.dv = dv.data();
  args.batch = batch, args.queries = queries, args.keys = keys, args.heads = heads, args.groups = groups;
  args.width = width, args.value_width = value_width, args.scale = 0.3f;
  attention_gradient(args);

  std::vector<double> dq_wanted(static_cast<size_t>(dq.size())), dk_wanted(static_cast<size_t>(dk.size())),
      dv_wanted(static_cast<size_t>(dv.size()));
  auto row = [&](std::vector<double>& of, int64_t tokens, int64_t b, int64_t token, int64_t head,
                 int64_t row_width) { return of.data() + ((b * tokens + token) * heads + head) * row_width; };
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t query = 0; query < queries; ++query) {
        const int64_t group = head / (heads / groups);
        std::vector<double> shares(static_cast<size_t>(keys)), slopes(shares);
        double sum = 0, mean = 0;
        for (int64_t key = 0; key < keys; ++key) {
          double score = 0, slope = 0;
          for (int64_t idx = 0; idx < width; ++idx)
            score += q.at(b, query, head, idx) * k.at(b, key, group, idx);
          for (int64_t idx = 0; idx < value_width; ++idx)
            slope += dy.at(b, query, head, idx) * v.at(b, key, group, idx);
          shares[static_cast<size_t>(key)] = is_seen(args, b, query, key) ? std::exp(0.3f * score) : 0.0;
          slopes[static_cast<size_t>(key)] = slope;
          sum += shares[static_cast<size_t>(key)];
        }
        for (size_t key = 0; key < shares.size() && sum > 0; ++key) {
          shares[key] /= sum;
          mean += shares[key] * slopes[key];
        }
        for (int64_t key = 0; key < keys; ++key) {
          const double share = shares[static_cast<size_t>(key)];
          const double slope = 0.3f * share * (slopes[static_cast<size_t>(key)] - mean);
          for (int64_t idx = 0; idx < width; ++idx) {
            row(dq_wanted, queries, b, query, head, width)[idx] += slope * k.at(b, key, group, idx);
            row(dk_wanted, keys, b, key, head, width)[idx] += slope * q.at(b, query, head, idx);
          }
          for (int64_t idx = 0; idx < value_width; ++idx)
            row(dv_wanted, keys, b, key, head, value_width)[idx] += share * dy.at(b, query, head, idx);
        }
      }
  auto expect_same = [&](const Floats& found, const std::vector<double>& wanted, const char* what) {
    double largest = 0;
    for (double value : wanted) largest = std::max(largest, std::fabs(value));
    for (int64_t idx = 0; idx < found.size(); ++idx)
      ASSERT_NEAR(found[idx], wanted[static_cast<size_t>(idx)], (args.rounds ? 0.01 : 1e-5) * largest)
          << what << " " << idx;
  };
  expect_same(dq, dq_wanted, "dq");
  expect_same(dk, dk_wanted, "dk");
  expect_same(dv, dv_wanted, "dv");
}

TEST(AttentionGradientKernel, IsThatOfPlainLoops) {
  on_every_target([] {
    for (bool rounds : {false, true}) {
      if (rounds && !multiplies_pairs()) continue;
      AttentionGradient args{};
      args.rounds = rounds;
      check({2, 7, 7, 2, 2, 8, 8}, args);
      check({1, 19, 33, 4, 2, 5, 9}, args);
      check({1, 270, 270, 2, 1, 16, 16}, args);  // more queries than at once
      args.is_causal = true;
      check({1, 270, 270, 2, 1, 16, 16}, args);
      check({1, 3, 40, 1, 1, 16, 16}, args);
      args.window = 9;
      check({1, 270, 275, 1, 1, 8, 8}, args);
      args.prefix = 17;
      check({1, 270, 270, 1, 1, 8, 8}, args);
    }
  });
}

TEST(AttentionGradientKernel, LeavesOutWhatNobodySees) {
  on_every_target([] {
    AttentionGradient args{};
    std::unique_ptr<bool[]> mask(new bool[2 * 30]{});
    for (int64_t key = 0; key < 20; ++key)
      mask[static_cast<size_t>(key)] = key % 3 != 0;  // none of the second
    args.key_mask = mask.get();
    check({2, 11, 30, 2, 2, 8, 8}, args);
    args.key_mask = nullptr;
    args.is_causal = true;
    check({1, 20, 12, 1, 1, 8, 8}, args);  // the first eight stand before all keys
  });
}

}  // namespace
}  // namespace vlm::kernels
