#include "weights/synthetic_source.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

TEST(SyntheticSource, MakesTheSameValuesInTheWantedType) {
  SyntheticSource source({{"a.weight", {{3, 64}, at::kBFloat16, 384}}, {"b", {{2}, at::kLong, 16}}}, 7);
  EXPECT_EQ(source.names(), (std::vector<std::string>{"a.weight", "b"}));
  Tensor first = source.load("a.weight");
  EXPECT_EQ(first.scalar_type(), at::kBFloat16);
  EXPECT_EQ(first.sizes(), at::IntArrayRef({3, 64}));
  EXPECT_TRUE(at::equal(first, source.load("a.weight")));
  EXPECT_GT(first.to(at::kFloat).std().item<float>(), 0);
  EXPECT_EQ(source.load("b").scalar_type(), at::kLong);
  EXPECT_GT(source.seconds(), 0);
  EXPECT_THROW(source.info("c"), Error);
}

}  // namespace
}  // namespace vlm
