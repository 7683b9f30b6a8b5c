#pragma once

#include <vector>

#include "nn/linear.h"
#include "ops/activation.h"

namespace vlm {

// Linear, then (depth - 1) times activation and Linear: LLaVA's projector. One name per linear layer.
struct MlpConnectorArgs {
  int64_t in = 0;   // width of the vision tower
  int64_t out = 0;  // width of the language model
  Act act = Act::gelu_erf;
  std::vector<std::string> names = {"linear_1", "linear_2"};
  bool has_bias = true;
};

class MlpConnector {
 public:
  MlpConnector() = default;
  MlpConnector(const MlpConnectorArgs& args, const Weights& w);
  Tensor operator()(Tensor x) const;  // [..., in] -> [..., out]

 private:
  Act act_ = Act::identity;
  std::vector<nn::Linear> layers_;
};

}  // namespace vlm
