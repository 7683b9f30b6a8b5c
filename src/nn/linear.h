// Linear layer: x . W^T + bias. The only place that knows about weight precision and low-rank adapters.
#pragma once

#include "ops/linear.h"
#include "weights/weights.h"

namespace vlm::nn {

class InputSquares;  // nn/input_statistics.h

enum class Bias { none, yes, if_stored };  // if_stored: published files of this model come with and without

class Linear {
 public:
  Linear() = default;
  // Tensors `weight` [out, in] and `bias` [out] below `w`.
  Linear(const Weights& w, int64_t in, int64_t out, Bias bias);
  // Other tensor names (fused projections published as bare parameters).
  Linear(const Weights& w, std::string_view weight_name, std::string_view bias_name, int64_t in, int64_t out,
         Bias bias);

  // act(x . W^T + bias), [..., in] -> [..., out].
  Tensor operator()(const Tensor& x, Act act = Act::identity) const;
  bool defined() const { return matrix_.out > 0; }
  // Whether the weights are kept, or multiplied in training, in 16 bits or less, so that what is computed
  // beside them may be rounded, too.
  bool is_rounded() const {
    return rounds_products_ || matrix_.packed || matrix_.dense.scalar_type() != at::kFloat;
  }
  const ops::Matrix& matrix() const { return matrix_; }
  const Tensor& bias() const { return bias_; }

 private:
  friend std::vector<Tensor> apply_together(const Tensor& x, std::initializer_list<const Linear*> layers);
  friend Tensor apply_gated(const Tensor& x, const Linear& gate, const Linear& up, Act act);
  // Whether the layer is its matrix and bias, and nothing else.
  bool is_plain() const {
    return !statistics_ && !input_order_.defined() && !lora_a_RI_.defined() && !rounds_products_;
  }
  Tensor product(const Tensor& x) const;

  std::shared_ptr<InputSquares> statistics_;  // null: not collected
  Tensor input_order_;  // int64 [in]: the input of each column of the matrix; undefined: as they come
  ops::Matrix matrix_;
  bool rounds_products_ = false;  // training in bfloat16: float32 weights, which products round
  Tensor bias_;
  Tensor lora_a_RI_;  // undefined without an adapter
  Tensor lora_b_OR_;
  double lora_scale_ = 0;
};

// Each layer's output; faster than one by one where they are quantised.
std::vector<Tensor> apply_together(const Tensor& x, std::initializer_list<const Linear*> layers);
// act(gate(x)) * up(x).
Tensor apply_gated(const Tensor& x, const Linear& gate, const Linear& up, Act act);

}  // namespace vlm::nn
