#include "engine/verify.h"

#include "app/cli/commands/command.h"
#include "weights/weights.h"

namespace vlm::cli {

namespace {

std::string tolerance_text(const TensorCheck& check) {
  return check.exact ? "exact" : fmt::format("{:.3g} + {:.3g} |x|", check.atol, check.rtol);
}

std::string report_text(const CaseReport& report, const Stream& out) {
  std::string text = out.paint(Ink::bold, report.name) + "  " + report.system + ", " + report.task + "\n";
  size_t width = 12;
  for (const TensorCheck& check : report.checks) width = std::max(width, check.tensor.size());
  for (const TensorCheck& check : report.checks) {
    text += fmt::format("  {:<{}}  error {:<9.3g}  tolerance {:<18}  ", check.tensor, width,
                        check.largest_error, tolerance_text(check));
    text += check.passed ? out.paint(Ink::green, "ok") : out.paint(Ink::red, "FAILED");
    if (!check.detail.empty()) text += "  " + check.detail;
    text += "\n";
  }
  if (!report.error.empty()) text += "  " + out.paint(Ink::red, "FAILED") + "  " + report.error + "\n";
  if (!report.first_difference.empty()) text += "  first difference: " + report.first_difference + "\n";
  return text;
}

nlohmann::ordered_json report_json(const CaseReport& report) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const TensorCheck& check : report.checks) {
    nlohmann::ordered_json entry{
        {"tensor", check.tensor}, {"passed", check.passed}, {"largest_error", check.largest_error}};
    if (check.exact)
      entry["exact"] = true;
    else
      entry["atol"] = check.atol, entry["rtol"] = check.rtol;
    if (!check.detail.empty()) entry["detail"] = check.detail;
    checks.push_back(entry);
  }
  nlohmann::ordered_json json{{"case", report.name},
                              {"system", report.system},
                              {"task", report.task},
                              {"passed", report.passed()},
                              {"checks", checks}};
  if (!report.error.empty()) json["error"] = report.error;
  if (!report.first_difference.empty()) json["first_difference"] = report.first_difference;
  return json;
}

}  // namespace

int run_command(const VerifyOptions& verify, const Context& context) {
  WeightsOptions weights;
  weights.precision = precision_from(verify.precision);
  std::vector<std::filesystem::path> cases = find_cases({verify.cases.begin(), verify.cases.end()});
  nlohmann::ordered_json reports = nlohmann::ordered_json::array();
  size_t failed = 0, checks = 0;
  for (size_t idx = 0; idx < cases.size(); ++idx) {
    report_progress({"verifying", static_cast<double>(idx), static_cast<double>(cases.size()), "cases",
                     cases[idx].filename().string()});
    CaseReport report = verify_case(cases[idx], weights);
    failed += report.passed() ? 0 : 1;
    checks += report.checks.size();
    if (context.options.json)
      reports.push_back(report_json(report));
    else
      print(report_text(report, context.terminal.out));
  }
  size_t total = cases.size();
  if (context.options.json)
    print_json({{"passed", failed == 0}, {"cases", total}, {"failed", failed}, {"reports", reports}});
  else if (failed == 0)
    print(fmt::format("{} case{}, {} checks: all reproduced\n", total, total == 1 ? "" : "s", checks));
  else
    print(fmt::format("{} of {} case{} not reproduced\n", failed, total, total == 1 ? "" : "s"));
  return failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace vlm::cli
