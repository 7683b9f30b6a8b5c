#include "nn/kv_cache.h"

#include <algorithm>

namespace vlm::nn {

namespace {

constexpr int64_t kFirstRows = 256;  // grown by half when full, so appending stays linear

void reserve(Tensor& rows, int64_t used, int64_t wanted, const Tensor& like) {
  int64_t capacity = rows.defined() ? rows.size(0) : 0;
  if (capacity >= wanted) return;
  int64_t grown = std::max({kFirstRows, wanted, capacity + capacity / 2});
  Tensor bigger = at::empty({grown, like.size(1), like.size(2)}, at::kFloat);
  if (used > 0) bigger.narrow(0, 0, used).copy_(rows.narrow(0, 0, used));
  rows = bigger;
}

}  // namespace

std::pair<Tensor, Tensor> KvCache::append(int64_t layer, const Tensor& k_TGE, const Tensor& v_TGE) {
  if (static_cast<int64_t>(layers_.size()) <= layer) layers_.resize(static_cast<size_t>(layer) + 1);
  Layer& rows = layers_[static_cast<size_t>(layer)];
  int64_t count = k_TGE.size(0);
  reserve(rows.k, length_, length_ + count, k_TGE);
  reserve(rows.v, length_, length_ + count, v_TGE);
  rows.k.narrow(0, length_, count).copy_(k_TGE);
  rows.v.narrow(0, length_, count).copy_(v_TGE);
  return {rows.k.narrow(0, 0, length_ + count), rows.v.narrow(0, 0, length_ + count)};
}

void KvCache::truncate(int64_t length) {
  VLM_CHECK(length >= 0 && length <= length_, "truncate to {} of {}", length, length_);
  length_ = length;
}

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  for (const Layer& layer : layers_)
    if (layer.k.defined()) sum += static_cast<int64_t>(layer.k.nbytes() + layer.v.nbytes());
  return sum;
}

KvCache KvCache::clone() const {
  KvCache copy;
  copy.length_ = length_;
  for (const Layer& layer : layers_) {
    Layer own;
    if (layer.k.defined())
      own = {layer.k.narrow(0, 0, length_).clone(), layer.v.narrow(0, 0, length_).clone()};
    copy.layers_.push_back(std::move(own));
  }
  return copy;
}

int64_t Packed::total() const {
  int64_t sum = 0;
  for (const Span& span : spans) sum += span.count;
  return sum;
}

Tensor Packed::positions() const {
  std::vector<Tensor> pieces;
  for (const Span& span : spans) {
    int64_t start = span.cache ? span.cache->length() : 0;
    pieces.push_back(at::arange(start, start + span.count, at::kLong));
  }
  return at::cat(pieces);
}

void Packed::advance() const {
  for (const Span& span : spans)
    if (span.cache) span.cache->advance(span.count);
}

}  // namespace vlm::nn
