// Every reference case of tests/cases, and what must hold for all of them.
#include <gtest/gtest.h>

#include "engine/verify.h"

namespace vlm {
namespace {

class ReferenceCases : public testing::TestWithParam<std::filesystem::path> {};

std::string text_of(const CaseReport& report) {
  std::string text = report.error;
  for (const TensorCheck& check : report.checks)
    if (!check.passed)
      text += fmt::format("\n  {}: error {:.4g} ({})", check.tensor, check.largest_error, check.detail);
  if (!report.first_difference.empty()) text += "\n  first difference: " + report.first_difference;
  return text;
}

TEST_P(ReferenceCases, AreReproduced) {
  CaseReport report = verify_case(GetParam());
  EXPECT_TRUE(report.passed()) << text_of(report);
}

std::string test_name(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.filename().string();
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceCases, testing::ValuesIn(find_cases({VLM_SOURCE_DIR "/tests/cases"})),
                         test_name);

}  // namespace
}  // namespace vlm
