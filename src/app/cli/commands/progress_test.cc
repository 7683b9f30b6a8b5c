#include "app/cli/commands/progress.h"

#include <gtest/gtest.h>

#include "app/cli/status.h"
#include "system/system.h"

namespace vlm::cli {
namespace {

TEST(Progress, TellsAmountRateAndTimeLeft) {
  Progress progress{"loading", 5e8, 2e9, "bytes", ""};
  EXPECT_EQ(progress_line(progress, 1e8, 200),
            "loading  [=======>                      ]  25 %  500 MB of 2 GB, 100 MB/s, 15.0 s left");
  EXPECT_EQ(progress_line({"training", 30, 0, "steps", "loss 1.5"}, 2, 200),
            "training  30 steps, 2 steps/s, loss 1.5");
}

TEST(Progress, FitsTheTerminal) {
  for (int width : {20, 40, 60, 80, 120})
    EXPECT_LT(progress_line({"loading", 5e8, 2e9, "bytes", "model.safetensors"}, 1e8, width).size(),
              static_cast<size_t>(width));
}

TEST(Units, AreShort) {
  EXPECT_EQ(bytes_text(12), "12 B");
  EXPECT_EQ(bytes_text(1.5e9), "1.5 GB");
  EXPECT_EQ(seconds_text(3.14159), "3.14 s");
  EXPECT_EQ(seconds_text(245), "4 min 5 s");
  EXPECT_EQ(seconds_text(7260), "2 h 1 min");
  EXPECT_EQ(count_text(7.06e9), "7.06 B");
}

// `list` counts what the engine's own table holds.
TEST(Status, CoversTheTableOfSystems) {
  for (const System& system : all_systems()) EXPECT_NE(status_of(system.slug), "not yet") << system.slug;
  EXPECT_EQ(status_of("no-such-system"), "not yet");
}

TEST(Status, EverySystemOfTheListWithCasesIsOnACard) {
  for (const SystemStatus& status : system_statuses()) {
    if (status.num_cases == 0) continue;
    EXPECT_NO_THROW(find_card(std::string(status.slug))) << status.slug;
  }
}

}  // namespace
}  // namespace vlm::cli
