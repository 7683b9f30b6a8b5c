// Attention of real systems beside the machine's own float32 product and its reads: towers, prefill,
// decoding.
//   --benchmark_filter=Vit --benchmark_enable_random_interleaving=true --benchmark_repetitions=5
//   --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "base/parallel.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace vlm::ops {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Body>
double best_seconds(int times, const Body& body) {
  double best = 1e9;
  for (int time = 0; time < times; ++time) {
    double start = seconds_now();
    body();
    best = std::min(best, seconds_now() - start);
  }
  return best;
}

// Operations a second of a large float32 product of the tensor library, and bytes a second that all threads
// read from memory.
struct Roofs {
  double operations, bytes;
};
const Roofs& roofs() {
  static const Roofs measured = [] {
    at::NoGradGuard no_gradients;
    set_num_threads(static_cast<int>(std::thread::hardware_concurrency()));  // LibTorch may choose fewer
    constexpr int64_t kSide = 1536, kFloats = int64_t{1} << 26;
    Tensor a = at::randn({kSide, kSide}), b = at::randn({kSide, kSide}), memory = at::ones({kFloats});
    double product = best_seconds(8, [&] { benchmark::DoNotOptimize(at::mm(a, b).data_ptr<float>()); });
    const float* from = memory.data_ptr<float>();
    double read = best_seconds(8, [&] {
      parallel_for(0, kFloats / 64, 1024, [&](int64_t first, int64_t last) {
        float sums[64] = {};
        for (int64_t at = first; at < last; ++at)
          for (int64_t idx = 0; idx < 64; ++idx) sums[idx] += from[at * 64 + idx];
        benchmark::DoNotOptimize(sums);
      });
    });
    return Roofs{2.0 * kSide * kSide * kSide / product, 4.0 * kFloats / read};
  }();
  return measured;
}

void report(benchmark::State& state, double operations, double bytes) {
  using benchmark::Counter;
  double runs = static_cast<double>(state.iterations());
  state.counters["GOP/s"] = Counter(operations * runs * 1e-9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(bytes * runs * 1e-9, Counter::kIsRate);
  state.counters["of GEMM"] = Counter(operations * runs / roofs().operations, Counter::kIsRate);
  state.counters["of read"] = Counter(bytes * runs / roofs().bytes, Counter::kIsRate);
}

KeyValues random_rows(KvPrecision precision, int64_t keys, int64_t groups, int64_t width) {
  KvStore k = make_kv_store(precision, groups, keys, width),
          v = make_kv_store(precision, groups, keys, width);
  store_kv(at::randn({keys, groups, width}), 0, k);
  store_kv(at::randn({keys, groups, width}), 0, v);
  auto view = [](const Tensor& tensor) {
    return tensor.defined() ? tensor.transpose(0, 1).unsqueeze(0) : tensor;
  };
  return {view(k.rows_GCE), view(v.rows_GCE), view(k.scales_GCN), view(v.scales_GCN), width};
}

double bytes_of(const KeyValues& kv) {
  double sum = 0;
  for (const Tensor& tensor : {kv.k_BSGE, kv.v_BSGE, kv.k_scales_BSGN, kv.v_scales_BSGN})
    if (tensor.defined()) sum += static_cast<double>(tensor.nbytes());
  return sum;
}

// A layer's keys and values do not stay in the caches while the other layers run: as many as the last-level
// cache does not hold take turns.
constexpr double kTurns_bytes = 160e6;

void Attend(benchmark::State& state, bool is_causal, KvPrecision precision, bool takes_turns) {
  at::NoGradGuard no_gradients;
  at::manual_seed(1);
  roofs();
  int64_t queries = state.range(0), keys = state.range(1), heads = state.range(2), groups = state.range(3);
  int64_t width = state.range(4);
  Tensor q = at::randn({1, queries, heads, width});
  std::vector<KeyValues> layers{random_rows(precision, keys, groups, width)};
  double bytes = bytes_of(layers[0]);
  while (takes_turns && bytes * static_cast<double>(layers.size()) < kTurns_bytes)
    layers.push_back(random_rows(precision, keys, groups, width));
  AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(width));
  args.is_causal = is_causal;
  size_t layer = 0;
  for (auto step : state) {
    (void)step;
    benchmark::DoNotOptimize(attention(q, layers[layer], args).data_ptr<float>());
    layer = (layer + 1) % layers.size();
  }
  double pairs = static_cast<double>(queries) * static_cast<double>(keys);
  if (is_causal) pairs -= static_cast<double>(queries) * static_cast<double>(queries - 1) / 2;
  report(state, 4.0 * pairs * static_cast<double>(heads * width), bytes);
}

void Vit(benchmark::State& state) {
  Attend(state, false, KvPrecision::f32, false);
}
void Prefill(benchmark::State& state) {
  Attend(state, true, KvPrecision::f32, false);
}
void Decode(benchmark::State& state) {
  auto precision = static_cast<KvPrecision>(state.range(5));
  state.SetLabel(kv_precision_name(precision));
  Attend(state, true, precision, true);
}

void name_arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queries", "keys", "heads", "groups", "width"})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}
void VitArguments(benchmark::internal::Benchmark* bench) {
  name_arguments(bench);
  bench->Args({577, 577, 16, 16, 64});  // CLIP ViT-L/14-336
  bench->Args({729, 729, 16, 16, 72});  // SigLIP-so400m/14-384
  for (int64_t tokens : {1024, 2048, 4096, 16384}) bench->Args({tokens, tokens, 4, 4, 64});
  for (int64_t width : {80, 88, 96, 112, 128, 256}) bench->Args({577, 577, 16, 16, width});
}
BENCHMARK(Vit)->Apply(VitArguments);

void PrefillArguments(benchmark::internal::Benchmark* bench) {
  name_arguments(bench);
  for (int64_t tokens : {640, 2048}) {
    bench->Args({tokens, tokens, 32, 4, 64});    // TinyLlama
    bench->Args({tokens, tokens, 32, 32, 128});  // LLaMA-7B
  }
  bench->Args({512, 8192, 32, 4, 64});  // a late piece of a long prompt
}
BENCHMARK(Prefill)->Apply(PrefillArguments);

void DecodeArguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queries", "keys", "heads", "groups", "width", "kv"})
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
  for (KvPrecision precision : {KvPrecision::f32, KvPrecision::f16, KvPrecision::int8})
    for (int64_t keys : {64, 700, 4096, 16384}) {
      bench->Args({1, keys, 32, 4, 64, static_cast<int64_t>(precision)});                      // TinyLlama
      bench->Args({1, keys, 32, 8, 128, static_cast<int64_t>(precision)});                     // Mistral
      if (keys < 16384) bench->Args({1, keys, 32, 32, 128, static_cast<int64_t>(precision)});  // LLaMA-7B
    }
}
BENCHMARK(Decode)->Apply(DecodeArguments);

}  // namespace
}  // namespace vlm::ops
