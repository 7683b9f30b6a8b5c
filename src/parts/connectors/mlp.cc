#include "parts/connectors/mlp.h"

namespace vlm {

MlpConnector::MlpConnector(const MlpConnectorArgs& args, const Weights& w) : act_(args.act) {
  for (const std::string& name : args.names)
    layers_.emplace_back(w / name, layers_.empty() ? args.in : args.out, args.out,
                         args.has_bias ? nn::Bias::yes : nn::Bias::none);
}

Tensor MlpConnector::operator()(Tensor x) const {
  for (const nn::Linear& layer : layers_) x = layer(x, &layer == &layers_.back() ? Act::identity : act_);
  return x;
}

}  // namespace vlm
