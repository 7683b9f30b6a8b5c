#include "tensor/group_layout.h"

namespace vlm {

int64_t group_length(int64_t in, int64_t groups) {
  if (groups <= 0) return 0;
  if (groups == groups_of_row(in)) return kGroupSize;
  return in % groups == 0 ? in / groups : 0;
}

Tensor dequantise_groups(const Tensor& quants, const Tensor& scales, const Tensor& minimums) {
  Tensor values = quants;
  if (quants.scalar_type() == at::kByte)
    values = at::stack({quants.bitwise_and(15), quants.__rshift__(4)}, 2).flatten(1);
  int64_t in = values.size(1), length = group_length(in, scales.size(1));
  VLM_CHECK(length > 0, "{} inputs in {} groups", in, scales.size(1));
  auto of_inputs = [&](const Tensor& of_groups) {
    return of_groups.to(at::kFloat).repeat_interleave(length, 1).narrow(1, 0, in);
  };
  values = values.to(at::kFloat) * of_inputs(scales);
  return minimums.defined() ? values + of_inputs(minimums) : values;
}

}  // namespace vlm
