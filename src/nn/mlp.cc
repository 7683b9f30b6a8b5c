#include "nn/mlp.h"

#include "tensor/result.h"

namespace vlm::nn {

namespace {

// What lies between the two products of many rows: as much as a last-level cache holds. Long inputs run in
// pieces of rows, which know nothing of each other.
constexpr int64_t kMostInnerFloats = int64_t{6} << 20;

}  // namespace

Mlp::Mlp(const Weights& w, int64_t width, int64_t inner, Act act, Bias bias, MlpNames names, double norm_eps)
    : inner_(inner),
      act_(act),
      up_(w / names.up, width, inner, bias),
      down_(w / names.down, inner, width, bias) {
  if (names.gate) gate_ = Linear(w / names.gate, width, inner, bias);
  if (names.norm) norm_ = Norm(w / names.norm, inner, NormKind::layer, norm_eps);
}

Tensor Mlp::operator()(const Tensor& x) const {
  int64_t width = x.size(-1), rows = width > 0 ? x.numel() / width : 0;
  int64_t pieces = (rows * inner_ + kMostInnerFloats - 1) / kMostInnerFloats;
  if (pieces <= 1 || at::GradMode::is_enabled()) return run(x);
  Tensor flat = x.reshape({rows, width}), y = empty_result(x.sizes()), flat_y = y.view({rows, width});
  for (int64_t piece = 0; piece < pieces; ++piece) {
    int64_t begin = rows * piece / pieces, count = rows * (piece + 1) / pieces - begin;
    flat_y.narrow(0, begin, count).copy_(run(flat.narrow(0, begin, count)));
  }
  return y;
}

Tensor Mlp::run(const Tensor& x) const {
  Tensor inner = gate_.defined() ? apply_gated(x, gate_, up_, act_) : up_(x, act_);
  return down_(norm_.defined() ? norm_(inner) : inner);
}

}  // namespace vlm::nn
