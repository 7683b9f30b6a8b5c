#include "kernels/attention.h"

#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

// One query of one head, in float64.
std::vector<double> exact(const Attention& args, int64_t batch, int64_t query, int64_t head) {
  const int64_t group = head / (args.heads / args.groups), position = args.keys - args.queries + query;
  const float* q = args.q + batch * args.q_strides[0] + query * args.q_strides[1] + head * args.q_strides[2];
  std::vector<double> sums(static_cast<size_t>(args.value_width));
  double total = 0;
  for (int64_t key = 0; key < args.keys; ++key) {
    bool is_seen = !args.is_causal || key < args.prefix ||
                   (key <= position && (args.window == 0 || key > position - args.window));
    if (!is_seen) continue;
    const float* k = args.k + batch * args.k_strides[0] + key * args.k_strides[1] + group * args.k_strides[2];
    const float* v = args.v + batch * args.v_strides[0] + key * args.v_strides[1] + group * args.v_strides[2];
    double score = 0;
    for (int64_t idx = 0; idx < args.width; ++idx) score += double{q[idx]} * k[idx] * args.scale;
    total += std::exp(score);
    for (int64_t idx = 0; idx < args.value_width; ++idx)
      sums[static_cast<size_t>(idx)] += std::exp(score) * v[idx];
  }
  for (double& sum : sums) sum = total > 0 ? sum / total : 0.0;
  return sums;
}

void check(int64_t queries, int64_t keys, int64_t heads, int64_t groups, int64_t width, int64_t value_width,
           bool is_causal, int64_t window, int64_t prefix) {
  constexpr int64_t kBatch = 2, kShift = 1;
  Floats q = Floats::random(kBatch * queries * heads * width, 1, kShift);
  Floats k = Floats::random(kBatch * keys * groups * width, 2, kShift);
  Floats v = Floats::random(kBatch * keys * groups * value_width, 3, kShift);
  Floats y(kBatch * queries * heads * value_width, kShift);
  Attention args{};
  args.q = q.data(), args.k = k.data(), args.v = v.data(), args.y = y.data();
  auto fill = [](int64_t(&strides)[3], int64_t tokens, int64_t count, int64_t size) {
    strides[0] = tokens * count * size, strides[1] = count * size, strides[2] = size;
  };
  fill(args.q_strides, queries, heads, width);
  fill(args.k_strides, keys, groups, width);
  fill(args.v_strides, keys, groups, value_width);
  args.batch = kBatch, args.queries = queries, args.keys = keys, args.heads = heads, args.groups = groups;
  args.width = width, args.value_width = value_width;
  args.scale = 1.0f / std::sqrt(static_cast<float>(width));
  args.is_causal = is_causal, args.window = window, args.prefix = prefix;
  attention(args);
  for (int64_t batch = 0; batch < kBatch; ++batch)
    for (int64_t query = 0; query < queries; ++query)
      for (int64_t head = 0; head < heads; ++head) {
        std::vector<double> wanted = exact(args, batch, query, head);
        for (int64_t idx = 0; idx < value_width; ++idx)
          ASSERT_NEAR(y[((batch * queries + query) * heads + head) * value_width + idx],
                      wanted[static_cast<size_t>(idx)], 4e-6)
              << queries << " queries " << keys << " keys " << heads << " heads on " << groups << " widths "
              << width << " " << value_width << ": query " << query << " head " << head;
      }
}

TEST(AttentionKernel, IsSoftmaxAttention) {
  on_every_target([] {
    for (int64_t queries : {1, 2, 3, 5, 7, 13, 49})
      for (int64_t width : {1, 17, 32})
        for (int64_t keys : {queries, queries + 63, queries + 130}) {
          check(queries, keys, 4, 2, width, width, false, 0, 0);
          check(queries, keys, 3, 1, width, 20, true, 0, 0);
        }
  });
}

TEST(AttentionKernel, HidesWhatWindowAndPrefixHide) {
  on_every_target([] {
    for (int64_t queries : {1, 60})
      for (int64_t window : {1, 5, 90})
        for (int64_t prefix : {0, 3, 70}) check(queries, queries + 100, 2, 1, 16, 16, true, window, prefix);
  });
}

// More threads than tasks: the keys of one head are shared out.
TEST(AttentionKernel, SharesLongContexts) {
  on_every_target([] {
    for (int64_t heads : {1, 5}) check(1, 3000, heads, 1, 32, 32, true, 0, 0);
    check(1, 3000, 1, 1, 32, 32, true, 100, 0);
  });
}

}  // namespace
}  // namespace vlm::kernels
