// AdamW (arXiv:1711.05101), gradient clipping by the global norm, learning-rate schedules and averaged
// weights.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace vlm {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
  double weight_decay = 0.05;  // decoupled: parameters shrink by lr * weight_decay
  double clip = 1.0;           // > 0: gradients are scaled so that their joint norm is at most this
};

class AdamW {
 public:
  struct Entry {
    std::string name;
    Tensor value;         // float32 leaf, contiguous
    double lr_scale = 1;  // of the step's learning rate
    bool decays = true;
    Tensor first = {}, second = {};  // moments; made as zeros where undefined
  };
  AdamW(std::vector<Entry> entries, AdamOptions options);

  double gradient_norm() const;  // over all entries that have a gradient
  // False when a gradient is not finite: then nothing changes. Entries without a gradient stay as they are.
  bool step(double lr);
  double last_norm() const { return last_norm_; }  // of the gradients of the last step
  void zero_gradients();
  void add_gradients(const std::vector<Tensor>& gradients);  // one for each entry; undefined: nothing

  const std::vector<Entry>& entries() const { return entries_; }
  int64_t steps_done() const { return steps_; }
  void set_steps_done(int64_t steps) { steps_ = steps; }

 private:
  void update(Entry& entry, double lr, double gradient_scale) const;

  std::vector<Entry> entries_;
  AdamOptions options_;
  int64_t steps_ = 0;
  double last_norm_ = 0;
};

// Norms, biases and embeddings are not drawn towards zero, as is usual.
bool decays_by_default(const std::string& name, const Tensor& value);

enum class Schedule {
  constant,
  linear,    // down to `last` over the whole stage
  cosine,    // the same, along half a cosine
  trapezoid  // constant, then linear over the last `cooldown` steps
};
Schedule schedule_from(const std::string& word);  // throws bad_request
struct LearningRate {
  Schedule schedule = Schedule::cosine;
  double peak = 1e-3;
  double last = 0;  // a fraction of the peak
  int64_t warmup = 0;
  int64_t cooldown = 0;
  int64_t steps = 1;
  double at(int64_t step) const;  // of the step with this number, from 0
};

// An exponential moving average of parameters: smoother than the last step's values.
class AveragedWeights {
 public:
  AveragedWeights(std::vector<Tensor> values, double decay);
  void update(int64_t step);  // early averages follow faster: min(decay, (1 + step) / (10 + step))
  void swap();                // exchanges averages and values; twice is nothing
  std::vector<Tensor>& averages() { return averages_; }

 private:
  std::vector<Tensor> values_, averages_;
  double decay_;
};

}  // namespace vlm
