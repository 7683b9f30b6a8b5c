#include "weights/delta_source.h"

#include <algorithm>

#include "base/error.h"

namespace vlm {

namespace {

class DeltaSource final : public TensorSource {
 public:
  DeltaSource(std::shared_ptr<const TensorSource> delta, std::shared_ptr<const TensorSource> base)
      : delta_(std::move(delta)), base_(std::move(base)) {}

  std::vector<std::string> names() const override { return delta_->names(); }
  bool has(const std::string& name) const override { return delta_->has(name); }
  TensorInfo info(const std::string& name) const override { return delta_->info(name); }
  bool is_abstract() const override { return delta_->is_abstract(); }
  std::string describe() const override { return delta_->describe() + " on " + base_->describe(); }

  std::vector<std::filesystem::path> files() const override {
    std::vector<std::filesystem::path> all = delta_->files(), more = base_->files();
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  Tensor load(const std::string& name) const override {
    Tensor difference = delta_->load(name);
    if (!base_->has(name) || !difference.is_floating_point()) return difference;
    Tensor origin = base_->load(name).to(at::kFloat);
    Tensor sum = difference.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    (sum.dim() == 0 ? sum : sum.slice(0, 0, origin.size(0))).add_(origin);
    return sum.to(difference.scalar_type());
  }

 private:
  std::shared_ptr<const TensorSource> delta_, base_;
};

}  // namespace

std::shared_ptr<const TensorSource> delta_source(std::shared_ptr<const TensorSource> delta,
                                                 std::shared_ptr<const TensorSource> base) {
  constexpr char kHint[] = "give the language model that the delta was made from, e.g. LLaMA-7B";
  int64_t num_shared = 0;
  for (const std::string& name : delta->names()) {
    if (!base->has(name)) continue;
    ++num_shared;
    Shape wanted = delta->info(name).shape, found = base->info(name).shape;
    bool has_more_rows = !wanted.empty() && wanted.size() == found.size() && wanted.front() > found.front() &&
                         std::equal(wanted.begin() + 1, wanted.end(), found.begin() + 1);
    if (wanted != found && !has_more_rows)
      fail(ErrorKind::bad_checkpoint, kHint, "{} is {} in the delta {} and {} in its base {}", name,
           shape_text(wanted), delta->describe(), shape_text(found), base->describe());
  }
  for (const std::string& name : base->names())
    if (!delta->has(name) && !name.ends_with("inv_freq"))
      fail(ErrorKind::bad_checkpoint, kHint, "the base {} has {}, the delta {} has not", base->describe(),
           name, delta->describe());
  if (num_shared == 0)
    fail(ErrorKind::bad_checkpoint, kHint, "the delta {} and its base {} share no tensor", delta->describe(),
         base->describe());
  return std::make_shared<DeltaSource>(std::move(delta), std::move(base));
}

}  // namespace vlm
