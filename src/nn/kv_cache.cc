#include "nn/kv_cache.h"

#include <algorithm>

namespace vlm::nn {

namespace {

constexpr int64_t kFirstRows = 256;  // grown by half when full, so appending stays linear
constexpr int64_t kSpareRows = 16;   // of a copy: beams are copied at every step and then grow by one

// Copies rows [from, from + count) of every head to [to, ...).
void copy_rows(const ops::KvStore& source, int64_t from, const ops::KvStore& target, int64_t to,
               int64_t count) {
  target.rows_GCE.narrow(1, to, count).copy_(source.rows_GCE.narrow(1, from, count));
  if (source.scales_GCN.defined())
    target.scales_GCN.narrow(1, to, count).copy_(source.scales_GCN.narrow(1, from, count));
}

// Room of its own for `capacity` rows, the first `used` taken over.
ops::KvStore resized(const ops::KvStore& store, int64_t capacity, int64_t used) {
  auto with_rows = [&](const Tensor& tensor) {
    return tensor.defined() ? at::empty({tensor.size(0), capacity, tensor.size(2)}, tensor.options())
                            : Tensor();
  };
  ops::KvStore bigger{with_rows(store.rows_GCE), with_rows(store.scales_GCN)};
  if (used > 0) copy_rows(store, 0, bigger, 0, used);
  return bigger;
}

void store(ops::KvStore& kept, ops::KvPrecision precision, const Tensor& x_TGE, int64_t used,
           int64_t reserved) {
  int64_t wanted = used + x_TGE.size(0);
  int64_t capacity = kept.rows_GCE.defined() ? kept.rows_GCE.size(1) : 0;
  if (capacity < wanted) {
    int64_t grown = reserved >= wanted ? reserved : std::max({kFirstRows, wanted, capacity + capacity / 2});
    kept = capacity == 0 ? ops::make_kv_store(precision, x_TGE.size(1), grown, x_TGE.size(2))
                         : resized(kept, grown, used);
  }
  ops::store_kv(x_TGE, used, kept);
}

// [1, rows, G, E]
Tensor view(const Tensor& tensor_GCE, int64_t rows) {
  if (!tensor_GCE.defined()) return tensor_GCE;
  at::IntArrayRef sizes = tensor_GCE.sizes(), strides = tensor_GCE.strides();
  return tensor_GCE.as_strided({1, rows, sizes[0], sizes[2]}, {0, strides[1], strides[0], 1});
}

}  // namespace

void KvCache::set_precision(ops::KvPrecision precision) {
  if (precision == precision_) return;
  layers_.clear();
  length_ = 0;
  precision_ = precision;
}

ops::KeyValues KvCache::append(int64_t layer, const Tensor& k_TGE, const Tensor& v_TGE) {
  if (static_cast<int64_t>(layers_.size()) <= layer) layers_.resize(static_cast<size_t>(layer) + 1);
  Layer& kept = layers_[static_cast<size_t>(layer)];
  store(kept.k, precision_, k_TGE, length_, reserved_);
  store(kept.v, precision_, v_TGE, length_, reserved_);
  kept.value_width = v_TGE.size(2);
  int64_t rows = length_ + k_TGE.size(0);
  return {view(kept.k.rows_GCE, rows), view(kept.v.rows_GCE, rows), view(kept.k.scales_GCN, rows),
          view(kept.v.scales_GCN, rows), kept.value_width};
}

void KvCache::truncate(int64_t length) {
  VLM_CHECK(length >= 0 && length <= length_, "truncate to {} of {}", length, length_);
  length_ = length;
}

void KvCache::stretch(int64_t length) {
  VLM_CHECK(length_ > 0, "stretch an empty cache");
  for (Layer& layer : layers_)
    for (ops::KvStore* kept : {&layer.k, &layer.v}) {
      if (kept->rows_GCE.size(1) < length) *kept = resized(*kept, length, length_);
      for (int64_t row = length_; row < length; row += length_)
        copy_rows(*kept, 0, *kept, row, std::min(length_, length - row));
    }
  length_ = std::max(length_, length);
}

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  auto add = [&](const Tensor& tensor) {
    if (tensor.defined())
      sum += tensor.size(0) * length_ * tensor.size(2) * static_cast<int64_t>(tensor.element_size());
  };
  for (const Layer& layer : layers_)
    for (const ops::KvStore* kept : {&layer.k, &layer.v}) add(kept->rows_GCE), add(kept->scales_GCN);
  return sum;
}

KvCache KvCache::clone() const {
  KvCache copy = *this;
  copy.reserved_ = 0;
  for (Layer& layer : copy.layers_)
    for (ops::KvStore* kept : {&layer.k, &layer.v})
      if (kept->rows_GCE.defined()) *kept = resized(*kept, length_ + kSpareRows, length_);
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
