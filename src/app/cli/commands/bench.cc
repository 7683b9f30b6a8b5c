// Speeds of a model beside the roofs of the machine.
#include "engine/bench.h"

#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "app/cli/commands/machine.h"
#include "app/cli/commands/models.h"
#include "base/parallel.h"
#include "engine/synthetic.h"
#include "ops/describe.h"
#include "ops/linear.h"
#include "ops/roofs.h"

namespace vlm::cli {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kMostShare = 1.05;            // more is no speed, but a roof that was measured too low
constexpr double kBeyondCaches_bytes = 256e6;  // smaller models may be read from the last cache

// What a row's work would take at the roofs: its operations, or its bytes, whichever is more.
struct Floor {
  double operation_seconds = 0, byte_seconds = 0;
  double seconds() const { return std::max(operation_seconds, byte_seconds); }
  bool is_read() const { return byte_seconds > operation_seconds; }
};
Floor floor_of(const tally::Work& work, const ops::Roofs& roofs) {
  return {work.float_operations / roofs.floats + work.half_operations / roofs.halves +
              work.byte_operations / roofs.bytes + work.nibble_operations / roofs.nibbles,
          work.bytes / roofs.read_bytes};
}

// A process that keeps one core busy while this lives.
class Neighbour {
 public:
  Neighbour() : id_(::fork()) {
    if (id_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) asm volatile("" : : : "memory");
  }
  ~Neighbour() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

 private:
  pid_t id_;
};

class Report {
 public:
  Report(const BenchOptions& options, const Context& context)
      : options_(options),
        is_json_(context.options.json),
        out_(context.terminal.out),
        roofs_(ops::measure_roofs()) {
    utsname machine{};
    ::uname(&machine);
    json_ = {{"vlm", VLM_VERSION},
             {"commit", source_commit()},
             {"machine",
              {{"processor", value_of("/proc/cpuinfo", "model name")},
               {"system", fmt::format("{} {} {}", machine.sysname, machine.release, machine.machine)},
               {"threads", num_threads()}}},
             {"kernels", ops::kernels_text()},
             {"libraries", {{"libtorch", torch_version()}, {"blas", blas_text()}}},
             {"roofs",
              {{"float32_gflops", giga(roofs_.floats)},
               {"float16_gflops", giga(roofs_.halves)},
               {"int8_gops", giga(roofs_.bytes)},
               {"int4_gops", giga(roofs_.nibbles)},
               {"read_gbps", giga(roofs_.read_bytes)}}},
             {"rows", Json::array()}};
    say(fmt::format(
        "{}, {} thread{}, {}\nroofs: float32 {:.0f} GFLOP/s, 16-bit {:.0f} GFLOP/s, 8-bit {:.0f} GOP/s, "
        "8 by 4 bits {:.0f} GOP/s, read {:.1f} GB/s\n",
        value_of("/proc/cpuinfo", "model name"), num_threads(), num_threads() == 1 ? "" : "s",
        ops::kernels_text(), giga(roofs_.floats), giga(roofs_.halves), giga(roofs_.bytes),
        giga(roofs_.nibbles), giga(roofs_.read_bytes)));
  }

  void begin(const std::string& model, const std::string& precision) {
    model_ = model, precision_ = precision;
    say(out_.paint(Ink::bold, fmt::format("\n{}, {}\n", model, precision)));
    say(out_.paint(Ink::dim, fmt::format("{:<12}{:<38}{:>10}  {:>20}  {:>15}  {}\n", "stage", "what", "time",
                                         "rate", "work", "of the roof")));
  }

  void load(double seconds, double making_seconds, int64_t bytes) {
    json_["rows"].push_back({{"model", model_},
                             {"precision", precision_},
                             {"stage", "load"},
                             {"seconds", seconds},
                             {"making_seconds", making_seconds},
                             {"resident_bytes", bytes}});
    std::string what =
        making_seconds > 0 ? fmt::format("without {} of making values", seconds_text(making_seconds)) : "";
    say(fmt::format("{:<12}{:<38}{:>10}  {:>20}\n", "load", what, seconds_text(seconds),
                    bytes_text(static_cast<double>(bytes))));
  }

  void row(const BenchRow& row, bool has_neighbour) {
    Floor floor = floor_of(row.work, roofs_);
    double seconds = row.median(), share = seconds > 0 ? floor.seconds() / seconds : 0;
    if (!floor.is_read() || row.work.bytes > kBeyondCaches_bytes)
      highest_share_ = std::max(highest_share_, share);
    Json json{{"model", model_},
              {"precision", precision_},
              {"stage", row.stage},
              {"what", row.what},
              {"batch", row.batch},
              {"context", row.context},
              {"threads", row.threads},
              {"neighbour", has_neighbour},
              {"seconds", row.seconds},
              {"median_seconds", seconds},
              {"rate", seconds > 0 ? row.count / seconds : 0},
              {"unit", row.unit},
              {"operations", row.work.operations()},
              {"bytes", row.work.bytes},
              {"floor_seconds", floor.seconds()},
              {"bound", floor.is_read() ? "read" : "products"},
              {"share", share},
              {"peak_bytes", row.peak_bytes}};
    if (!row.skipped.empty()) json["skipped"] = row.skipped;
    json["profile"] = entries_json(row.profile);
    json["shapes"] = entries_json(row.shapes);
    json_["rows"].push_back(std::move(json));
    if (!is_json_) say(text_of(row, has_neighbour, floor, share));
  }

  void finish() {
    json_["roofs"]["disturbed"] = highest_share_ > kMostShare;
    if (highest_share_ > kMostShare)
      log(LogLevel::warn,
          "a row reached {:.0f} % of a roof: other programs were at work while the roofs were measured; "
          "shares of "
          "this run mean nothing",
          100 * highest_share_);
    if (is_json_) print_json(json_);
  }

 private:
  static double giga(double value) { return value * 1e-9; }

  void say(const std::string& text) const {
    if (!is_json_) print(text);
  }

  static Json entries_json(const std::map<std::string, tally::Entry>& entries) {
    Json json = Json::object();
    for (const auto& [name, entry] : entries)
      json[name] = {{"calls", entry.calls},
                    {"seconds", entry.seconds},
                    {"operations", entry.work.operations()},
                    {"bytes", entry.work.bytes}};
    return json;
  }

  std::string text_of(const BenchRow& row, bool has_neighbour, const Floor& floor, double share) const {
    std::string what = row.what + (has_neighbour ? ", busy neighbour" : "");
    if (row.seconds.empty())
      return fmt::format("{:<12}{:<38}{}\n", row.stage, what,
                         out_.paint(Ink::dim, "left out: " + row.skipped));
    double seconds = row.median();
    std::string rate = row.unit.empty() ? "" : fmt::format("{:.4g} {}/s", row.count / seconds, row.unit),
                work;
    if (floor.seconds() > 0)
      work = floor.is_read() ? fmt::format("{:.1f} GB/s", giga(row.work.bytes) / seconds)
                             : fmt::format("{:.0f} GOP/s", giga(row.work.operations()) / seconds);
    std::string text = fmt::format(
        "{:<12}{:<38}{:>10}  {:>20}  {:>15}  {}\n", row.stage, what, duration(seconds), rate, work,
        floor.seconds() > 0
            ? fmt::format("{:.0f} % of {}", 100 * share, floor.is_read() ? "reading" : "products")
            : "");
    return options_.profile ? text + profile_of(row) : text;
  }

  static std::string duration(double seconds) {
    return seconds < 1 ? fmt::format("{:.4g} ms", 1000 * seconds) : fmt::format("{:.4g} s", seconds);
  }

  std::string profile_of(const BenchRow& row) const {
    std::vector<std::pair<double, std::string>> parts;
    double known = 0;
    auto add = [&](double seconds, const std::string& name) {
      parts.emplace_back(seconds, fmt::format("{} {:.0f} %", name, 100 * seconds / row.profiled_seconds));
    };
    for (const auto& [name, entry] : row.profile) add(entry.seconds, name), known += entry.seconds;
    add(row.profiled_seconds - known, "other");
    std::sort(parts.rbegin(), parts.rend());
    std::string line;
    for (const auto& part : parts) line += (line.empty() ? "" : ", ") + part.second;
    std::string text = fmt::format("{:<12}{}\n", "", line);
    for (const auto& [name, entry] : row.shapes)
      text += fmt::format("{:<12}{:>5} x {:<55} {:>10}  {:.0f} GOP/s, {:.1f} GB/s\n", "", entry.calls, name,
                          duration(entry.seconds), giga(entry.work.operations()) / entry.seconds,
                          giga(entry.work.bytes) / entry.seconds);
    return out_.paint(Ink::dim, text);
  }

  const BenchOptions& options_;
  bool is_json_;
  Stream out_;
  ops::Roofs roofs_;
  Json json_;
  std::string model_, precision_;
  double highest_share_ = 0;
};

vlm::BenchOptions measured(const BenchOptions& bench) {
  vlm::BenchOptions options;
  options.stages.insert(bench.stages.begin(), bench.stages.end());
  options.batches = bench.batches;
  options.prompt_tokens = bench.prompt_tokens;
  options.contexts = bench.contexts;
  options.new_tokens = bench.new_tokens;
  options.repeat = bench.repeat;
  long long width = 0, height = 0;
  int end = 0;
  constexpr long long kMostPixels = 1 << 14;  // of a side
  bool fits = std::sscanf(bench.picture.c_str(), "%lldx%lld%n", &width, &height, &end) == 2 &&
              static_cast<size_t>(end) == bench.picture.size() && width > 0 && height > 0 &&
              width <= kMostPixels && height <= kMostPixels;
  if (!fits)
    fail(ErrorKind::bad_request, "give width and height in pixels, such as 672x504",
         "--picture \"{}\" is no size", bench.picture);
  options.picture_width = width, options.picture_height = height;
  return options;
}

// One precision of the model or of the shapes, ready to be measured.
std::shared_ptr<const LoadedModel> load(const BenchOptions& bench, const std::string& word, Report& report) {
  Precision precision = word == "torch" ? Precision::f32 : precision_from(word);
  int64_t before = resident_bytes();
  auto start = Clock::now();
  auto since = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  if (bench.shapes.empty()) {
    LoadOptions options = load_options(bench.model);
    options.precision = precision;
    std::shared_ptr<const LoadedModel> loaded = load_model(bench.model.model, options);
    report.begin(loaded->checkpoint.name, word);
    report.load(since(), 0, resident_bytes() - before);
    return loaded;
  }
  SyntheticCheckpoint made = synthetic_checkpoint(bench.shapes, bench.layers);
  std::string name = made.checkpoint.name + " (made-up weights";
  if (bench.layers > 0 && bench.layers < made.all_layers)
    name += fmt::format(", {} of {} layers of the language model", bench.layers, made.all_layers);
  WeightsOptions weights;
  weights.precision = precision;
  auto loaded =
      std::make_shared<LoadedModel>(bind_model(std::move(made.checkpoint), weights, bench.model.system));
  loaded->kv_precision =
      kv_precision_or_auto(bench.model.kv_precision).value_or(choose_kv_precision(precision));
  report.begin(name + ")", word);
  report.load(since() - made.source->seconds(), made.source->seconds(), resident_bytes() - before);
  return loaded;
}

}  // namespace

int run_command(const BenchOptions& bench, const Context& context) {
  if (bench.model.model.empty() == bench.shapes.empty())
    fail(ErrorKind::bad_request, "vlm bench MODEL, or vlm bench --shapes llava-1.5",
         "name a model or --shapes, and not both");
  if (bench.layers > 0 && bench.shapes.empty())
    fail(ErrorKind::bad_request, "leave --layers out", "--layers cuts made-up models alone");
  vlm::BenchOptions options = measured(bench);
  std::vector<std::string> precisions = bench.precisions;
  if (precisions.empty()) precisions = {"int8"};
  Report report(bench, context);
  for (const std::string& precision : precisions) {
    std::shared_ptr<const LoadedModel> loaded = load(bench, precision, report);
    bool were_enabled = ops::kernels_enabled();
    if (precision == "torch") ops::set_kernels_enabled(false);
    bench_model(*loaded, options, [&](const BenchRow& row) { report.row(row, false); });
    if (bench.neighbour) {
      vlm::BenchOptions decoding = options;
      decoding.stages = {"decode"};
      Neighbour neighbour;
      bench_model(*loaded, decoding, [&](const BenchRow& row) { report.row(row, true); });
    }
    ops::set_kernels_enabled(were_enabled);
  }
  report.finish();
  return kExitOk;
}

}  // namespace vlm::cli
