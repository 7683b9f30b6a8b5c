#include "parts/connectors/mlp.h"

namespace vlm {

MlpConnector::MlpConnector(const MlpConnectorArgs& args, const Weights& w) : act_(args.act) {
  for (const std::string& name : args.names)
    layers_.emplace_back(w / name, layers_.empty() ? args.in : args.out, args.out,
                         args.has_bias ? nn::Bias::yes : nn::Bias::none);
}

Tensor MlpConnector::operator()(Tensor x) const {
  for (size_t idx = 0; idx < layers_.size(); ++idx) x = layers_[idx](idx == 0 ? x : ops::activate(x, act_));
  return x;
}

}  // namespace vlm
