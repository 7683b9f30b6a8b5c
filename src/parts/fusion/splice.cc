#include "parts/fusion/splice.h"

namespace vlm {

Tensor splice(Tensor x_TD, const Tensor& ids_T, int64_t placeholder, const Tensor& features_ND) {
  Tensor rows = (ids_T == placeholder).nonzero().squeeze(1);
  int64_t num_features = features_ND.defined() ? features_ND.size(0) : 0;
  if (rows.size(0) != num_features)
    fail(ErrorKind::bad_request, "use one placeholder for each picture",
         "the prompt has room for {} image tokens, the pictures give {}", rows.size(0), num_features);
  if (num_features == 0) return x_TD;
  Tensor features = features_ND.to(x_TD.scalar_type());
  return at::GradMode::is_enabled() ? x_TD.index_copy(0, rows, features)
                                    : x_TD.index_copy_(0, rows, features);
}

}  // namespace vlm
