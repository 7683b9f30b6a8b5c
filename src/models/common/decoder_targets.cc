#include "models/common/decoder_targets.h"

#include <algorithm>

namespace vlm {

DecoderTargets decoder_targets(const std::vector<Prompt>& examples, int64_t start_id) {
  DecoderTargets targets;
  std::vector<int64_t> ids, rows, labels;
  for (const Prompt& example : examples) {
    int64_t previous = start_id;
    for (int64_t label : example.labels) {
      if (label != kIgnore) {
        rows.push_back(static_cast<int64_t>(ids.size()));
        labels.push_back(label);
      }
      ids.push_back(previous);
      previous = std::max<int64_t>(label, 0);
    }
    targets.batch.packed.spans.push_back({static_cast<int64_t>(example.labels.size())});
  }
  targets.ids = ids_tensor(ids);
  targets.batch.label_rows = ids_tensor(rows);
  targets.batch.label_ids = ids_tensor(labels);
  return targets;
}

}  // namespace vlm
