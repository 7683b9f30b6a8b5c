#include "kernels/attention_gradient.h"

#include "kernels/attention_gradient_testing.h"
#include "kernels/factors.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

struct Sizes {
  int64_t batch, queries, keys, heads, groups, width, value_width;
};

void check(const Sizes& sizes, AttentionGradient args) {
  args.batch = sizes.batch, args.queries = sizes.queries, args.keys = sizes.keys, args.heads = sizes.heads;
  args.groups = sizes.groups, args.width = sizes.width, args.value_width = sizes.value_width;
  args.scale = 0.3f;
  GradientCase made(args, 1);
  attention_gradient(made.args);
  const GradientCase::Wanted wanted = made.wanted();
  auto expect_same = [&](const Floats& found, const std::vector<double>& all, const char* what) {
    const double bound = (args.rounds ? 0.01 : 1e-5) * largest_of(all);
    for (int64_t idx = 0; idx < found.size(); ++idx)
      ASSERT_NEAR(found[idx], all[static_cast<size_t>(idx)], bound) << what << " " << idx;
  };
  expect_same(made.dq, wanted.dq, "dq");
  expect_same(made.dk, wanted.dk, "dk");
  expect_same(made.dv, wanted.dv, "dv");
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
