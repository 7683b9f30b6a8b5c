#include "tensor/tally.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

void work(const char* kind, double operations) {
  tally::Span span(kind);
  if (span) span.add({.float_operations = operations, .bytes = 2 * operations}, "2 x 3");
}

TEST(Tally, CountsByKindWhileSomebodyCounts) {
  work("product", 1);
  tally::Count outer;
  work("product", 2);
  {
    tally::Count inner;
    work("product", 4);
    EXPECT_EQ(inner.work().float_operations, 4);
  }
  work("product", 8);
  work("norm", 16);
  EXPECT_EQ(outer.entries().at("product").calls, 2);
  EXPECT_EQ(outer.entries().at("product").work.float_operations, 10);
  EXPECT_EQ(outer.shapes().at("product 2 x 3").calls, 2);
  EXPECT_EQ(outer.work().operations(), 26);
  EXPECT_EQ(outer.work().bytes, 52);
}

TEST(Tally, TimeIsTheOutermostSpans) {
  tally::Count count;
  {
    tally::Span outer("block");
    work("product", 1);
  }
  EXPECT_EQ(count.entries().at("product").seconds, 0);
  EXPECT_GT(count.entries().at("block").seconds, 0);
}

}  // namespace
}  // namespace vlm
