#include "engine/draft.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

using Ids = std::vector<int64_t>;

TEST(DraftByLookup, ContinuesWhatStoodBefore) {
  EXPECT_EQ(draft_by_lookup(Ids{1, 2, 3, 4, 5, 9, 1, 2}, 2), (Ids{3, 4}));
  EXPECT_EQ(draft_by_lookup(Ids{1, 2, 3, 4, 5, 9, 1, 2}, 7), (Ids{3, 4, 5, 9, 1, 2}));
  EXPECT_EQ(draft_by_lookup(Ids{7, 7, 7}, 7), Ids{7});
}

TEST(DraftByLookup, TakesTheLongestMatchThenTheLatest) {
  EXPECT_EQ(draft_by_lookup(Ids{1, 2, 3, 50, 2, 3, 60, 1, 2, 3}, 1), Ids{50});
  EXPECT_EQ(draft_by_lookup(Ids{2, 3, 50, 2, 3, 60, 1, 2, 3}, 1), Ids{60});
}

TEST(DraftByLookup, KnowsWhenItKnowsNothing) {
  EXPECT_EQ(draft_by_lookup(Ids{}, 4), Ids{});
  EXPECT_EQ(draft_by_lookup(Ids{1}, 4), Ids{});
  EXPECT_EQ(draft_by_lookup(Ids{1, 2}, 4), Ids{});
  EXPECT_EQ(draft_by_lookup(Ids{1, 2, 3, 2}, 4), Ids{});  // one id alone
  EXPECT_EQ(draft_by_lookup(Ids{1, 2, 3, 1, 2}, 0), Ids{});
}

}  // namespace
}  // namespace vlm
