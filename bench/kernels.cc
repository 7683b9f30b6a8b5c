// Products and attention of real systems, side by side: this program's kernels, the tensor library's float32,
// and oneDNN's float32 and 8-bit products where it was built with oneDNN.
//
//   kernels [--products] [--attention] [--filter WORD] [--rounds N] [--threads N] [--json FILE]
//   kernels --stages FILE    the products of a result of `vlm bench --json`, as plain 8-bit products of
//   oneDNN
//
// Rivals take turns within a round, so that what disturbs one disturbs all; figures are medians of the
// rounds. The last cache is filled with other data before products of few rows, which a model reads from
// memory. oneDNN keeps to AVX2 with ONEDNN_MAX_CPU_ISA=AVX2, these kernels with VLM_KERNELS=avx2.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/cli/commands/machine.h"
#include "base/files.h"
#include "base/parallel.h"
#include "bench/onednn.h"
#include "ops/attention.h"
#include "ops/describe.h"
#include "ops/linear.h"
#include "ops/roofs.h"
#include "tensor/threads.h"

namespace {

using namespace vlm;
using Json = nlohmann::ordered_json;

// Threads of the tensor library wait for their next work with the core kept busy, at the next rival's
// expense.
constexpr std::chrono::milliseconds kSettling{60};
constexpr double kFewestSeconds = 0.01;  // of a measurement: shorter runs are repeated within it

struct Options {
  bool products = false, attention = false;
  std::string filter, json, stages;
  int64_t rounds = 7;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

struct Rival {
  std::string name;
  std::function<void()> run;
  double bytes = 0;  // of weights, keys and values
  std::vector<double> seconds = {};
};

// Seconds of one run of each, in turns.
void race(std::vector<Rival>& rivals, int64_t rounds, const std::function<void()>& before = {}) {
  std::map<std::string, int64_t> runs;
  for (Rival& rival : rivals) {
    rival.run();
    double start = now();
    rival.run();
    runs[rival.name] =
        before ? 1 : std::max<int64_t>(1, static_cast<int64_t>(kFewestSeconds / (now() - start)));
  }
  for (int64_t round = 0; round < rounds; ++round)
    for (Rival& rival : rivals) {
      std::this_thread::sleep_for(kSettling);
      for (int64_t run = 0; run < runs[rival.name]; ++run) rival.run();  // until its threads are awake
      if (before) before();
      double start = now();
      for (int64_t run = 0; run < runs[rival.name]; ++run) rival.run();
      rival.seconds.push_back((now() - start) / static_cast<double>(runs[rival.name]));
    }
}

class Results {
 public:
  explicit Results(const Options& options) : options_(options), roofs_(ops::measure_roofs()) {
    json_ = {{"program", "kernels"},
             {"commit", cli::source_commit()},
             {"threads", num_threads()},
             {"kernels", ops::kernels_text()},
             {"libraries", {{"onednn", bench::onednn_version()}}},
             {"roofs",
              {{"float32_gflops", roofs_.floats * 1e-9},
               {"float16_gflops", roofs_.halves * 1e-9},
               {"int8_gops", roofs_.bytes * 1e-9},
               {"int4_gops", roofs_.nibbles * 1e-9},
               {"read_gbps", roofs_.read_bytes * 1e-9}}},
             {"rows", Json::array()}};
    std::printf("%d threads, %s, oneDNN %s\n", num_threads(), ops::kernels_text().c_str(),
                bench::onednn_version().c_str());
    std::printf("roofs: float32 %.0f, 16-bit %.0f, 8-bit %.0f, 8 by 4 bits %.0f GOP/s, read %.1f GB/s\n",
                roofs_.floats * 1e-9, roofs_.halves * 1e-9, roofs_.bytes * 1e-9, roofs_.nibbles * 1e-9,
                roofs_.read_bytes * 1e-9);
  }

  bool wants(const std::string& what) const { return what.find(options_.filter) != std::string::npos; }

  void add(const std::string& what, double operations, const std::vector<Rival>& rivals) {
    std::printf("\n%s\n", what.c_str());
    for (const Rival& rival : rivals) {
      double seconds = median(rival.seconds);
      std::printf("  %-22s %10.3f ms %9.1f GOP/s %7.1f GB/s\n", rival.name.c_str(), 1e3 * seconds,
                  operations / seconds * 1e-9, rival.bytes / seconds * 1e-9);
      json_["rows"].push_back({{"what", what},
                               {"rival", rival.name},
                               {"operations", operations},
                               {"bytes", rival.bytes},
                               {"seconds", rival.seconds},
                               {"median_seconds", seconds}});
    }
    std::fflush(stdout);
  }

  void finish() const {
    if (!options_.json.empty()) write_text(options_.json, json_.dump(1) + "\n");
  }
  const ops::Roofs& roofs() const { return roofs_; }

 private:
  const Options& options_;
  ops::Roofs roofs_;
  Json json_;
};

struct ProductShape {
  const char* what;
  int64_t rows, in, out;
};
constexpr ProductShape kProducts[] = {
    {"CLIP ViT-L/14-336 q, k, v, out", 577, 1024, 1024},
    {"CLIP ViT-L/14-336 fc1", 577, 1024, 4096},
    {"CLIP ViT-L/14-336 fc2", 577, 4096, 1024},
    {"SigLIP-so400m/14-384 q, k, v, out", 729, 1152, 1152},
    {"SigLIP-so400m/14-384 fc1", 729, 1152, 4304},
    {"SigLIP-so400m/14-384 fc2", 729, 4304, 1152},
    {"Qwen2-VL tower qkv", 1728, 1280, 3840},
    {"Qwen2-VL tower fc1", 1728, 1280, 5120},
    {"Qwen2-VL tower fc2", 1728, 5120, 1280},
    {"Qwen2-VL-2B q, out", 640, 1536, 1536},
    {"Qwen2-VL-2B gate, up", 640, 1536, 8960},
    {"Qwen2-VL-2B down", 640, 8960, 1536},
    {"TinyLlama-1.1B q, out", 640, 2048, 2048},
    {"TinyLlama-1.1B k, v", 640, 2048, 256},
    {"TinyLlama-1.1B gate, up", 640, 2048, 5632},
    {"TinyLlama-1.1B down", 640, 5632, 2048},
    {"LLaMA-7B q, k, v, out", 640, 4096, 4096},
    {"LLaMA-7B gate, up", 640, 4096, 11008},
    {"LLaMA-7B down", 640, 11008, 4096},
    {"TinyLlama-1.1B gate, up, one token", 1, 2048, 5632},
    {"TinyLlama-1.1B gate, up, four tokens", 4, 2048, 5632},
    {"LLaMA-7B gate, up, one token", 1, 4096, 11008},
    {"LLaMA-7B gate, up, four tokens", 4, 4096, 11008},
    {"LLaMA-7B down, one token", 1, 11008, 4096},
};

// Reads 128 MB, so that the next product finds its weights in memory alone.
void forget_caches() {
  static const Tensor other = at::ones({int64_t{1} << 25});
  if (other.sum().item<float>() < 0) std::puts("");
}

void race_product(const ProductShape& shape, const Options& options, Results& results) {
  std::string what = fmt::format("{}: {} x {} x {}", shape.what, shape.rows, shape.in, shape.out);
  if (!results.wants(what)) return;
  at::manual_seed(1);
  Tensor x = at::randn({shape.rows, shape.in}), weight = at::randn({shape.out, shape.in});
  std::vector<Rival> rivals;
  rivals.push_back(
      {"at::linear float32", [&] { at::linear(x, weight); }, static_cast<double>(weight.nbytes())});
  std::vector<std::pair<std::string, ops::Matrix>> own{{"bf16", ops::dense_matrix(weight.to(at::kBFloat16))}};
  if (shape.rows <= 8) own.emplace_back("float32", ops::dense_matrix(weight));
  if (shape.in % 32 == 0) {
    own.emplace_back("int8", ops::quantise_matrix(weight, 8));
    own.emplace_back("int4", ops::quantise_matrix(weight, 4));
  }
  for (const auto& [name, matrix] : own)
    rivals.push_back({"vlm " + name, [&x, &matrix = matrix] { ops::linear(x, matrix, Tensor()); },
                      static_cast<double>(ops::matrix_bytes(matrix))});
  double weights = static_cast<double>(shape.in) * static_cast<double>(shape.out);
  for (bench::OneDnnKind kind : bench::onednn_kinds())
    rivals.push_back({bench::onednn_name(kind), bench::onednn_product(kind, shape.rows, shape.in, shape.out),
                      weights * (kind == bench::OneDnnKind::f32 ? 4 : 1)});
  race(rivals, options.rounds, shape.rows <= 8 ? forget_caches : std::function<void()>());
  results.add(what, 2.0 * static_cast<double>(shape.rows) * weights, rivals);
}

struct AttentionShape {
  const char* what;
  int64_t queries, keys, heads, groups, width;
};
constexpr AttentionShape kAttentions[] = {
    {"CLIP ViT-L/14-336", 577, 577, 16, 16, 64},
    {"SigLIP-so400m/14-384", 729, 729, 16, 16, 72},
    {"Qwen2-VL tower, 672 x 504", 1728, 1728, 16, 16, 80},
    {"EVA-CLIP-g", 577, 577, 16, 16, 88},
    {"head size 96", 1024, 1024, 8, 8, 96},
    {"head size 112", 1024, 1024, 8, 8, 112},
    {"head size 128", 1024, 1024, 8, 8, 128},
    {"head size 256", 1024, 1024, 4, 4, 256},
    {"4096 tokens", 4096, 4096, 4, 4, 64},
    {"16384 tokens", 16384, 16384, 1, 1, 64},
    {"TinyLlama-1.1B prefill", 640, 640, 32, 4, 64},
    {"LLaMA-7B prefill", 640, 640, 32, 32, 128},
    {"Qwen2-VL-2B prefill", 640, 640, 12, 2, 128},
    {"TinyLlama-1.1B, one token at 700", 1, 700, 32, 4, 64},
    {"TinyLlama-1.1B, one token at 4096", 1, 4096, 32, 4, 64},
    {"Qwen2-VL-7B, one token at 4096", 1, 4096, 28, 4, 128},
    {"Mistral-7B, one token at 4096", 1, 4096, 32, 8, 128},
    {"LLaMA-7B, one token at 4096", 1, 4096, 32, 32, 128},
};

// Decoding one token: what each of several sequences would find in caches that together fill 256 MB, as none
// stays in the processor's.
struct Caches {
  std::vector<ops::KeyValues> caches;
  size_t next = 0;

  Caches(const Tensor& k, const Tensor& v, bool in_tiles) {
    const int64_t copies = std::max<int64_t>(1, (256 << 20) / (4 * k.numel()));
    auto kept = [&](const Tensor& rows, ops::KvTiles tiles) {
      ops::KvStore store = ops::make_kv_store(ops::KvPrecision::f16, rows.size(2), rows.size(1), rows.size(3),
                                              in_tiles ? tiles : ops::KvTiles::none);
      ops::store_kv(rows[0], 0, store);
      return store;
    };
    for (int64_t copy = 0; copy < copies; ++copy) {
      ops::KvStore keys = kept(k, ops::KvTiles::keys), values = kept(v, ops::KvTiles::values);
      ops::KeyValues kv;
      kv.value_width = v.size(3);
      kv.keys = k.size(1);
      if (in_tiles) {
        kv.k_tiles = keys.tiles, kv.v_tiles = values.tiles;
      } else {
        kv.k_BSGE = keys.rows_GCE.transpose(0, 1).unsqueeze(0);
        kv.v_BSGE = values.rows_GCE.transpose(0, 1).unsqueeze(0);
      }
      caches.push_back(kv);
    }
  }
  const ops::KeyValues& take() { return caches[next++ % caches.size()]; }
};

// As attention() of several sequences: four tokens that are decoded together, on four caches.
Tensor decode_four(const Tensor& q_AE, Caches& caches, const ops::AttentionArgs& args) {
  std::vector<ops::Sequence> sequences;
  for (int idx = 0; idx < 4; ++idx) sequences.push_back({1, caches.take(), 0});
  return ops::attention(q_AE.expand({4, -1, -1}).contiguous(), sequences, args);
}

void race_decoding(const AttentionShape& shape, const Options& options, Results& results,
                   const std::string& what) {
  Tensor q = at::randn({1, shape.queries, shape.heads, shape.width});
  Tensor k = at::randn({1, shape.keys, shape.groups, shape.width});
  Tensor v = at::randn({1, shape.keys, shape.groups, shape.width});
  ops::AttentionArgs args;
  args.scale = 0.1;
  args.is_causal = true;
  ops::AttentionArgs rounded = args;
  rounded.may_round = true;
  double bytes = 2.0 * static_cast<double>(k.numel() + v.numel());
  Caches rows(k, v, false), tiles(k, v, true);
  std::vector<Rival> rivals{{"vlm, float16", [&] { ops::attention(q, rows.take(), args); }, bytes},
                            {"vlm, tiles", [&] { ops::attention(q, tiles.take(), rounded); }, bytes}};
  if (!ops::attends_in_tiles(shape.heads, shape.groups, true)) rivals.resize(1);
  double pairs = static_cast<double>(shape.keys);
  std::vector<Rival> fours{{"vlm, float16", [&] { decode_four(q[0], rows, args); }, 4 * bytes},
                           {"vlm, tiles", [&] { decode_four(q[0], tiles, rounded); }, 4 * bytes}};
  fours.resize(rivals.size() == 1 ? 1 : 2);
  race(rivals, options.rounds);
  double operations = 4.0 * pairs * static_cast<double>(shape.heads * shape.width);
  results.add(what, operations, rivals);
  race(fours, options.rounds);
  results.add(what + ", four sequences", 4 * operations, fours);
}

void race_attention(const AttentionShape& shape, const Options& options, Results& results) {
  std::string what = fmt::format("attention, {}: {} queries, {} keys, {} heads of {} on {}", shape.what,
                                 shape.queries, shape.keys, shape.heads, shape.width, shape.groups);
  if (!results.wants(what)) return;
  at::manual_seed(1);
  if (shape.queries == 1) return race_decoding(shape, options, results, what);
  Tensor q = at::randn({1, shape.queries, shape.heads, shape.width});
  Tensor k = at::randn({1, shape.keys, shape.groups, shape.width});
  Tensor v = at::randn({1, shape.keys, shape.groups, shape.width});
  ops::AttentionArgs args;
  args.scale = 0.1;
  args.is_causal =
      shape.groups != shape.heads || std::string(shape.what).find("prefill") != std::string::npos;
  ops::AttentionArgs rounded = args;
  rounded.may_round = true;
  double bytes = static_cast<double>(k.nbytes() + v.nbytes());
  std::vector<Rival> rivals{{"vlm", [&] { ops::attention(q, k, v, args); }, bytes},
                            {"vlm, bfloat16", [&] { ops::attention(q, k, v, rounded); }, bytes}};
  // The two products alone, as float32 products of the tensor library, all pairs: the speed to be held
  // against. Its scores take quadratic memory.
  Tensor queries = q.permute({0, 2, 1, 3}).contiguous(),
         keys = k.permute({0, 2, 3, 1}).to(at::kFloat).contiguous();
  Tensor values = v.permute({0, 2, 1, 3}).to(at::kFloat).contiguous();
  int64_t repeat = shape.heads / shape.groups;
  queries = queries.view({shape.groups, repeat * shape.queries, shape.width});
  keys = keys.view({shape.groups, shape.width, shape.keys});
  values = values.view({shape.groups, shape.keys, shape.width});
  rivals.push_back({"its products, at::bmm", [&] { at::bmm(at::bmm(queries, keys), values); }, bytes});
  race(rivals, options.rounds);
  double pairs = static_cast<double>(shape.queries) * static_cast<double>(shape.keys);
  if (args.is_causal) {
    // Figures are of what is computed: a causal kernel leaves half of the pairs out.
    pairs = 0.5 * static_cast<double>(shape.queries) * static_cast<double>(shape.queries + 1);
    double all = static_cast<double>(shape.queries) * static_cast<double>(shape.keys);
    for (double& seconds : rivals.back().seconds) seconds *= pairs / all;
  }
  results.add(what, 4.0 * pairs * static_cast<double>(shape.heads * shape.width), rivals);
}

// "products 577 x 1024 x 4096" -> the three numbers.
bool read_product(const std::string& name, ProductShape& shape) {
  long long rows, in, out;
  if (std::sscanf(name.c_str(), "products %lld x %lld x %lld", &rows, &in, &out) != 3) return false;
  shape = {"", rows, in, out};
  return true;
}

// For each stage of a result: what its products take as plain 8-bit products of oneDNN, and the stage's share
// of it.
void race_stages(const Options& options) {
  Json result = Json::parse(read_text(options.stages));
  std::map<std::string, double> known;
  for (const Json& row : result["rows"]) {
    std::string stage = row["stage"];
    if ((stage != "encode" && stage != "prefill") || !row.contains("shapes")) continue;
    double plain = 0, operations = 0;
    for (const auto& [name, entry] : row["shapes"].items()) {
      ProductShape shape{};
      if (!read_product(name, shape)) continue;
      if (!known.count(name)) {
        std::vector<Rival> rival{
            {"onednn", bench::onednn_product(bench::OneDnnKind::u8s8, shape.rows, shape.in, shape.out)}};
        race(rival, options.rounds);
        known[name] = median(rival.front().seconds);
      }
      plain += entry["calls"].get<double>() * known[name];
      operations += entry["operations"].get<double>();
    }
    double seconds = row["median_seconds"];
    std::printf("%s, %s, %s, %s: %.3f s; its products in oneDNN, u8 by s8: %.3f s (%.0f GOP/s): %.0f %%\n",
                row["model"].get<std::string>().c_str(), row["precision"].get<std::string>().c_str(),
                stage.c_str(), row["what"].get<std::string>().c_str(), seconds, plain,
                operations / plain * 1e-9, 100 * plain / seconds);
  }
}

int run(int argc, char** argv) {
  Options options;
  for (int at = 1; at < argc; ++at) {
    std::string word = argv[at];
    auto value = [&]() -> std::string {
      if (at + 1 >= argc) fail(ErrorKind::bad_request, "give it", "{} needs a value", word);
      return argv[++at];
    };
    if (word == "--products")
      options.products = true;
    else if (word == "--attention")
      options.attention = true;
    else if (word == "--filter")
      options.filter = value();
    else if (word == "--rounds")
      options.rounds = std::stoll(value());
    else if (word == "--threads")
      set_num_threads(std::stoi(value()));
    else if (word == "--json")
      options.json = value();
    else if (word == "--stages")
      options.stages = value();
    else
      fail(ErrorKind::bad_request, "see the head of bench/kernels.cc", "unknown option {}", word);
  }
  share_threads();
  at::NoGradGuard no_grad;
  Results results(options);
  if (!options.stages.empty()) {
    race_stages(options);
    return 0;
  }
  bool all = !options.products && !options.attention;
  if (options.products || all)
    for (const ProductShape& shape : kProducts) race_product(shape, options, results);
  if (options.attention || all)
    for (const AttentionShape& shape : kAttentions) race_attention(shape, options, results);
  results.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
