#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"

namespace vlm {

namespace {

constexpr double kPi = 3.14159265358979323846;

double sum_of_squares(const float* values, int64_t count) {
  double total = 0;
  constexpr int64_t kBlock = 1024;  // float sums of short blocks are exact enough and vectorise
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    int64_t end = std::min(count, begin + kBlock);
    float lanes[8] = {};
    int64_t idx = begin;
    for (; idx + 8 <= end; idx += 8)
      for (int64_t lane = 0; lane < 8; ++lane) lanes[lane] += values[idx + lane] * values[idx + lane];
    for (; idx < end; ++idx) lanes[0] += values[idx] * values[idx];
    for (float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

}  // namespace

AdamW::AdamW(std::vector<Entry> entries, AdamOptions options)
    : entries_(std::move(entries)), options_(options) {
  for (Entry& entry : entries_) {
    VLM_CHECK(entry.value.is_contiguous() && entry.value.scalar_type() == at::kFloat, "{}", entry.name);
    if (!entry.first.defined()) entry.first = at::zeros(entry.value.sizes());
    if (!entry.second.defined()) entry.second = at::zeros(entry.value.sizes());
  }
}

double AdamW::gradient_norm() const {
  std::vector<double> squares(entries_.size());
  parallel_for(0, static_cast<int64_t>(entries_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto idx = static_cast<size_t>(begin); idx < static_cast<size_t>(end); ++idx) {
      if (!entries_[idx].value.grad().defined()) continue;
      Tensor gradient = entries_[idx].value.grad().contiguous();
      squares[idx] = sum_of_squares(gradient.data_ptr<float>(), gradient.numel());
    }
  });
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

bool AdamW::step(double lr) {
  double norm = last_norm_ = gradient_norm();
  if (!std::isfinite(norm)) return false;
  ++steps_;
  double shrink = options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1.0;
  // Whole parameters to threads: one parallel region instead of one for each.
  parallel_for(0, static_cast<int64_t>(entries_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t idx = begin; idx < end; ++idx) update(entries_[static_cast<size_t>(idx)], lr, shrink);
  });
  return true;
}

void AdamW::update(Entry& entry, double lr, double gradient_scale) const {
  if (!entry.value.grad().defined()) return;
  Tensor gradient = entry.value.grad().contiguous();
  auto steps = static_cast<double>(steps_);
  double rate = lr * entry.lr_scale;
  auto scale = static_cast<float>(gradient_scale);
  auto beta1 = static_cast<float>(options_.beta1), beta2 = static_cast<float>(options_.beta2);
  auto rest1 = static_cast<float>(1 - options_.beta1), rest2 = static_cast<float>(1 - options_.beta2);
  auto step_size = static_cast<float>(rate / (1 - std::pow(options_.beta1, steps)));
  auto inverse_root2 = static_cast<float>(1 / std::sqrt(1 - std::pow(options_.beta2, steps)));
  auto epsilon = static_cast<float>(options_.epsilon);
  auto keep = static_cast<float>(entry.decays ? 1 - rate * options_.weight_decay : 1.0);
  const float* g = gradient.data_ptr<float>();
  float* value = entry.value.data_ptr<float>();
  float* m = entry.first.data_ptr<float>();
  float* v = entry.second.data_ptr<float>();
  int64_t count = entry.value.numel();
  for (int64_t idx = 0; idx < count; ++idx) {
    float slope = g[idx] * scale;
    m[idx] = beta1 * m[idx] + rest1 * slope;
    v[idx] = beta2 * v[idx] + rest2 * slope * slope;
    value[idx] = keep * value[idx] - step_size * m[idx] / (std::sqrt(v[idx]) * inverse_root2 + epsilon);
  }
}

void AdamW::add_gradients(const std::vector<Tensor>& gradients) {
  VLM_CHECK(gradients.size() == entries_.size(), "{} gradients of {} parameters", gradients.size(),
            entries_.size());
  at::NoGradGuard no_grad;
  for (size_t idx = 0; idx < gradients.size(); ++idx) {
    if (!gradients[idx].defined()) continue;
    Tensor& sum = entries_[idx].value.mutable_grad();
    if (sum.defined())
      sum.add_(gradients[idx]);
    else
      sum = gradients[idx].to(at::kFloat).contiguous();
  }
}

void AdamW::zero_gradients() {
  for (Entry& entry : entries_) entry.value.mutable_grad().reset();
}

bool decays_by_default(const std::string& name, const Tensor& value) {
  return value.dim() >= 2 && name.find("embed") == std::string::npos;
}

Schedule schedule_from(const std::string& word) {
  const std::vector<std::pair<std::string, Schedule>> known = {{"constant", Schedule::constant},
                                                               {"linear", Schedule::linear},
                                                               {"cosine", Schedule::cosine},
                                                               {"trapezoid", Schedule::trapezoid}};
  for (const auto& [name, schedule] : known)
    if (word == name) return schedule;
  fail(ErrorKind::bad_request, "use constant, linear, cosine or trapezoid", "unknown schedule \"{}\"", word);
}

double LearningRate::at(int64_t step) const {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  auto part = [](int64_t done, int64_t whole) {
    return std::clamp(static_cast<double>(done) / static_cast<double>(std::max<int64_t>(whole, 1)), 0.0, 1.0);
  };
  double along = part(step - warmup, steps - warmup);
  switch (schedule) {
    case Schedule::constant:
      return peak;
    case Schedule::linear:
      return peak * (1 - (1 - last) * along);
    case Schedule::cosine:
      return peak * (last + (1 - last) * (1 + std::cos(kPi * along)) / 2);
    case Schedule::trapezoid:
      return peak * (1 - (1 - last) * part(step - (steps - cooldown), cooldown));
  }
  return peak;
}

AveragedWeights::AveragedWeights(std::vector<Tensor> values, double decay)
    : values_(std::move(values)), decay_(decay) {
  at::NoGradGuard no_grad;
  for (const Tensor& value : values_) averages_.push_back(value.detach().clone());
}

void AveragedWeights::update(int64_t step) {
  double early = static_cast<double>(1 + step) / static_cast<double>(10 + step);
  auto rest = static_cast<float>(1 - std::min(decay_, early));
  parallel_for(0, static_cast<int64_t>(values_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at) {
      const float* value = values_[at].data_ptr<float>();
      float* average = averages_[at].data_ptr<float>();
      int64_t count = values_[at].numel();
      for (int64_t idx = 0; idx < count; ++idx) average[idx] += rest * (value[idx] - average[idx]);
    }
  });
}

void AveragedWeights::swap() {
  for (size_t at = 0; at < values_.size(); ++at) {
    float* value = values_[at].data_ptr<float>();
    std::swap_ranges(value, value + values_[at].numel(), averages_[at].data_ptr<float>());
  }
}

}  // namespace vlm
