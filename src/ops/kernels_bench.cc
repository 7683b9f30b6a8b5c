// Matrix products and attention of real systems: kernels beside the tensor library's float32.
// Run interleaved on a noisy machine:
//   --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
//   --benchmark_report_aggregates_only=true
// "cpu GOP/s" is what the threads would reach if each had a core to itself all the time.
#include <benchmark/benchmark.h>

#include "base/parallel.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace vlm::ops {
namespace {

enum Weights { aten_f32, f32, bf16, int8, int4 };
const char* const kWeightNames[] = {"at::linear f32", "f32", "bf16", "int8", "int4"};

Matrix matrix_for(const Tensor& weight, int64_t kind) {
  switch (kind) {
    case bf16:
      return dense_matrix(weight.to(at::kBFloat16));
    case int8:
      return quantise_matrix(weight, 8);
    case int4:
      return quantise_matrix(weight, 4);
    default:
      return dense_matrix(weight);
  }
}

double process_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void report(benchmark::State& state, double operations, double bytes, double cpu_seconds) {
  using benchmark::Counter;
  double runs = static_cast<double>(state.iterations());
  state.counters["GOP/s"] = Counter(operations * runs * 1e-9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(bytes * runs * 1e-9, Counter::kIsRate);
  state.counters["cpu GOP/s"] = operations * runs * 1e-9 / (cpu_seconds / num_threads());
}

void Product(benchmark::State& state) {
  at::NoGradGuard no_gradients;
  at::manual_seed(1);
  int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  Tensor x = at::randn({rows, in}), weight = at::randn({out, in});
  Matrix matrix = matrix_for(weight, state.range(3));
  state.SetLabel(kWeightNames[state.range(3)]);
  double start = process_seconds();
  for (auto step : state) {
    (void)step;
    Tensor y = state.range(3) == aten_f32 ? at::linear(x, weight) : linear(x, matrix, Tensor());
    benchmark::DoNotOptimize(y.data_ptr<float>());
  }
  double operations = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  report(state, operations, static_cast<double>(matrix_bytes(matrix)), process_seconds() - start);
}

void ProductArguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "in", "out", "weights"})->UseRealTime()->Unit(benchmark::kMillisecond);
  const std::vector<std::array<int64_t, 3>> sizes = {
      {577, 1024, 4096},                   // CLIP ViT-L/14-336 fc1
      {577, 4096, 1024},                   // CLIP ViT-L/14-336 fc2
      {640, 2048, 5632},                   // TinyLlama gate, up; prefill
      {8, 2048, 5632},   {1, 2048, 5632},  // decoding
  };
  for (const auto& [rows, in, out] : sizes)
    for (int64_t weights : {aten_f32, f32, bf16, int8, int4}) bench->Args({rows, in, out, weights});
}
BENCHMARK(Product)->Apply(ProductArguments);

void Attention(benchmark::State& state) {
  at::NoGradGuard no_gradients;
  at::manual_seed(1);
  int64_t queries = state.range(0), keys = state.range(1), heads = state.range(2), groups = state.range(3);
  int64_t width = state.range(4);
  Tensor q = at::randn({1, queries, heads, width}), k = at::randn({1, keys, groups, width});
  Tensor v = at::randn({1, keys, groups, width});
  AttentionArgs args;
  args.scale = 0.1;
  args.is_causal = groups != heads;
  state.SetLabel(state.range(5) ? "kernel" : "definition");
  set_kernels_enabled(state.range(5) != 0);
  double start = process_seconds();
  for (auto step : state) {
    (void)step;
    benchmark::DoNotOptimize(attention(q, k, v, args).data_ptr<float>());
  }
  set_kernels_enabled(true);
  double operations = 4.0 * static_cast<double>(queries * keys) * static_cast<double>(heads * width) *
                      (args.is_causal && queries > 1 ? 0.5 : 1.0);
  report(state, operations, 8.0 * static_cast<double>(keys * groups * width), process_seconds() - start);
}

void AttentionArguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"queries", "keys", "heads", "groups", "width", "kernel"})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  const std::vector<std::array<int64_t, 5>> sizes = {
      {577, 577, 16, 16, 64},  // CLIP ViT-L/14-336
      {640, 640, 32, 4, 64},   // TinyLlama, prefill
      {1, 700, 32, 4, 64},     // TinyLlama, decoding
  };
  for (const auto& [queries, keys, heads, groups, width] : sizes)
    for (int64_t kernel : {0, 1}) bench->Args({queries, keys, heads, groups, width, kernel});
}
BENCHMARK(Attention)->Apply(AttentionArguments);

}  // namespace
}  // namespace vlm::ops
