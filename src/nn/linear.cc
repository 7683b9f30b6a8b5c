#include "nn/linear.h"

#include <algorithm>
#include <cmath>

#include "nn/input_statistics.h"
#include "nn/quantised_matrices.h"
#include "ops/rounded_linear.h"
#include "tensor/group_layout.h"

namespace vlm::nn {

namespace {

ops::Matrix load_matrix(const Weights& w, std::string_view name, int64_t in, int64_t out,
                        Tensor& input_order) {
  Precision precision = w.options().precision;
  if (auto stored = w.take_quantised(name, {out, in})) {
    if (w.options().trainable || precision == Precision::f32) return ops::dense_matrix(dequantise(*stored));
    bool has_too_many_bits = precision == Precision::int4 && stored->bits() == 8 && can_quantise(out, in);
    if (has_too_many_bits) return ops::quantise_matrix(dequantise(*stored), 4);
    input_order = stored->input_order;
    return ops::pack_matrix(stored->quants, stored->scales, stored->minimums);
  }
  bool is_quantised = (precision == Precision::int8 || precision == Precision::int4) && can_quantise(out, in);
  int bits = precision == Precision::int8 ? 8 : 4;
  bool is_later = is_quantised && w.options().quantised && !w.options().trainable && !w.is_abstract() &&
                  !w.source().invents_names();
  if (is_later) {
    if (!w.reserve(name, {out, in})) return ops::dense_matrix(at::zeros({}).expand({out, in}));
    return w.options().quantised->add(w.full_name(name), out, in, bits);
  }
  Tensor weight = w.take_matrix(name, {out, in});
  if (w.is_abstract() || w.options().trainable) return ops::dense_matrix(weight);
  if (precision == Precision::f32) return ops::dense_matrix(weight);
  if (precision ==
      Precision::bf16)  // float16 files are used as they lie: as small, nearer, and nothing is copied
    return ops::dense_matrix(weight.scalar_type() == at::kHalf ? weight : weight.to(at::kBFloat16));
  return is_quantised ? ops::quantise_matrix(weight, bits) : ops::dense_matrix(weight.to(at::kFloat));
}

}  // namespace

Linear::Linear(const Weights& w, int64_t in, int64_t out, Bias bias)
    : Linear(w, "weight", "bias", in, out, bias) {}

Linear::Linear(const Weights& w, std::string_view weight_name, std::string_view bias_name, int64_t in,
               int64_t out, Bias bias)
    : matrix_(load_matrix(w, weight_name, in, out, input_order_)) {
  rounds_products_ = w.options().trainable && w.options().precision == Precision::bf16;
  if (bias == Bias::yes || (bias == Bias::if_stored && w.has(bias_name))) bias_ = w.take(bias_name, {out});
  if (w.options().statistics) statistics_ = w.options().statistics->of(w.full_name(weight_name), in);

  const LoraOptions& lora = w.options().lora;
  std::string name = w.full_name(weight_name);
  if (lora.rank <= 0 || std::none_of(lora.targets.begin(), lora.targets.end(),
                                     [&](const std::string& target) { return glob_matches(target, name); }))
    return;
  // As in the LoRA paper (arXiv:2106.09685, section 4.1): A random, B zero, so training starts at the
  // published weights.
  double bound = std::sqrt(3.0 / static_cast<double>(in));
  std::string stem(weight_name.substr(0, weight_name.size() - std::string_view("weight").size()));
  lora_a_RI_ = w.take_or_make(stem + "lora_A.weight", {lora.rank, in}, [&] {
    return at::empty({lora.rank, in}).uniform_(-bound, bound);
  });
  lora_b_OR_ = w.take_or_make(stem + "lora_B.weight", {out, lora.rank}, [&] {
    return at::zeros({out, lora.rank});
  });
  lora_scale_ = lora.alpha / static_cast<double>(lora.rank);
}

Tensor Linear::operator()(const Tensor& x, Act act) const {
  if (is_plain()) return ops::linear(x, matrix_, bias_, act);
  if (statistics_) statistics_->add(x);
  Tensor y = product(input_order_.defined() ? x.index_select(-1, input_order_) : x);
  if (lora_a_RI_.defined()) y = y + at::linear(at::linear(x, lora_a_RI_), lora_b_OR_) * lora_scale_;
  return ops::activate(y, act);
}

Tensor Linear::product(const Tensor& x) const {
  return rounds_products_ && at::GradMode::is_enabled() ? ops::rounded_linear(x, matrix_.dense, bias_)
                                                        : ops::linear(x, matrix_, bias_);
}

std::vector<Tensor> apply_together(const Tensor& x, std::initializer_list<const Linear*> layers) {
  bool is_plain =
      std::all_of(layers.begin(), layers.end(), [](const Linear* layer) { return layer->is_plain(); });
  std::vector<ops::LinearArgs> args;
  std::vector<Tensor> results;
  for (const Linear* layer : layers)
    if (is_plain)
      args.push_back({&layer->matrix_, layer->bias_});
    else
      results.push_back((*layer)(x));
  return is_plain ? ops::linear_together(x, args) : results;
}

Tensor apply_gated(const Tensor& x, const Linear& gate, const Linear& up, Act act) {
  if (gate.is_plain() && up.is_plain())
    return ops::linear_gated(x, {&gate.matrix_, gate.bias_}, {&up.matrix_, up.bias_}, act);
  return ops::gated(gate(x), up(x), act);
}

}  // namespace vlm::nn
