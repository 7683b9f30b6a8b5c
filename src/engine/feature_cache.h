// Encoded media by content: a picture that was seen is not encoded again, whoever asks.
#pragma once

#include <list>
#include <map>
#include <mutex>
#include <optional>

#include "base/hash.h"
#include "tensor/tensor.h"

namespace vlm {

class FeatureCache {
 public:
  explicit FeatureCache(int64_t limit_bytes = int64_t{256} << 20) : limit_bytes_(limit_bytes) {}

  std::optional<Tensor> find(const ContentHash& key);
  void insert(const ContentHash& key, Tensor features);  // forgets the longest unused when over the limit
  int64_t bytes() const;
  int64_t hits() const { return hits_; }

 private:
  struct Entry {
    ContentHash key;
    Tensor features;
  };
  mutable std::mutex mutex_;
  int64_t limit_bytes_;
  int64_t bytes_ = 0;
  int64_t hits_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::map<ContentHash, std::list<Entry>::iterator> by_key_;
};

}  // namespace vlm
