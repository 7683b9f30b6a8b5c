#include "engine/feature_cache.h"

namespace vlm {

std::optional<Tensor> FeatureCache::find(const ContentHash& key) {
  std::lock_guard lock(mutex_);
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  ++hits_;
  return found->second->features;
}

void FeatureCache::insert(const ContentHash& key, Tensor features) {
  std::lock_guard lock(mutex_);
  if (by_key_.count(key)) return;
  bytes_ += static_cast<int64_t>(features.nbytes());
  entries_.push_front({key, std::move(features)});
  by_key_[key] = entries_.begin();
  while (bytes_ > limit_bytes_ && entries_.size() > 1) {
    bytes_ -= static_cast<int64_t>(entries_.back().features.nbytes());
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

int64_t FeatureCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace vlm
