#include "weights/merged_source.h"

#include <algorithm>

namespace vlm {

namespace {

class MergedSource final : public TensorSource {
 public:
  MergedSource(std::shared_ptr<const TensorSource> main, std::shared_ptr<const TensorSource> extra,
               std::string from, std::string to)
      : main_(std::move(main)), extra_(std::move(extra)), from_(std::move(from)), to_(std::move(to)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> all = main_->names();
    for (const std::string& name : extra_->names())
      if (name.starts_with(from_) && !main_->has(to_ + name.substr(from_.size())))
        all.push_back(to_ + name.substr(from_.size()));
    std::sort(all.begin(), all.end());
    return all;
  }
  bool has(const std::string& name) const override {
    return main_->has(name) || (name.starts_with(to_) && extra_->has(inner(name)));
  }
  TensorInfo info(const std::string& name) const override {
    return main_->has(name) ? main_->info(name) : extra_->info(inner(name));
  }
  Tensor load(const std::string& name) const override {
    return main_->has(name) ? main_->load(name) : extra_->load(inner(name));
  }
  bool is_abstract() const override { return main_->is_abstract(); }
  std::span<const std::byte> mapped_bytes(const std::string& name) const override {
    return main_->has(name) ? main_->mapped_bytes(name) : extra_->mapped_bytes(inner(name));
  }
  std::vector<std::filesystem::path> files() const override {
    std::vector<std::filesystem::path> all = main_->files(), more = extra_->files();
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string describe() const override { return main_->describe() + " with " + extra_->describe(); }

 private:
  std::string inner(const std::string& name) const {
    return name.starts_with(to_) ? from_ + name.substr(to_.size()) : name;
  }

  std::shared_ptr<const TensorSource> main_, extra_;
  std::string from_, to_;
};

}  // namespace

std::shared_ptr<const TensorSource> merged_source(std::shared_ptr<const TensorSource> main,
                                                  std::shared_ptr<const TensorSource> extra, std::string from,
                                                  std::string to) {
  return std::make_shared<MergedSource>(std::move(main), std::move(extra), std::move(from), std::move(to));
}

}  // namespace vlm
