#include "nn/kv_cache.h"

#include <algorithm>

namespace vlm::nn {

namespace {

constexpr int64_t kFirstRows = 256;  // grown by half when full, so appending stays linear
constexpr int64_t kSpareRows = 16;   // of a copy: beams are copied at every step and then grow by one

// Room of its own for `capacity` rows, the first `used` taken over.
ops::KvStore resized(const ops::KvStore& store, int64_t capacity, int64_t used) {
  auto with_second_axis = [](const Tensor& tensor, int64_t size) {
    if (!tensor.defined()) return Tensor();
    std::vector<int64_t> sizes = tensor.sizes().vec();
    sizes[1] = size;
    return at::empty(sizes, tensor.options());
  };
  int64_t tile = store.tiles.defined() ? store.tiles.size(3) : 1;
  ops::KvStore bigger{with_second_axis(store.rows_GCE, capacity),
                      with_second_axis(store.scales_GCN, capacity),
                      with_second_axis(store.tiles, (capacity + tile - 1) / tile)};
  if (used > 0) ops::copy_kv(store, 0, bigger, 0, used);
  return bigger;
}

void store(ops::KvStore& kept, ops::KvPrecision precision, ops::KvTiles tiles, const Tensor& x_TGE,
           int64_t used, int64_t reserved) {
  int64_t wanted = used + x_TGE.size(0);
  int64_t capacity = kept.capacity();
  if (capacity < wanted) {
    int64_t grown = reserved >= wanted ? reserved : std::max({kFirstRows, wanted, capacity + capacity / 2});
    kept = capacity == 0 ? ops::make_kv_store(precision, x_TGE.size(1), grown, x_TGE.size(2), tiles)
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

ops::KeyValues KvCache::append(int64_t layer, const Tensor& k_TGE, const Tensor& v_TGE, bool in_tiles) {
  if (static_cast<int64_t>(layers_.size()) <= layer) layers_.resize(static_cast<size_t>(layer) + 1);
  Layer& kept = layers_[static_cast<size_t>(layer)];
  store(kept.k, precision_, in_tiles ? ops::KvTiles::keys : ops::KvTiles::none, k_TGE, length_, reserved_);
  store(kept.v, precision_, in_tiles ? ops::KvTiles::values : ops::KvTiles::none, v_TGE, length_, reserved_);
  kept.value_width = v_TGE.size(2);
  int64_t rows = length_ + k_TGE.size(0);
  return {view(kept.k.rows_GCE, rows),
          view(kept.v.rows_GCE, rows),
          view(kept.k.scales_GCN, rows),
          view(kept.v.scales_GCN, rows),
          kept.value_width,
          kept.k.tiles,
          kept.v.tiles,
          rows};
}

void KvCache::truncate(int64_t length) {
  VLM_CHECK(length >= 0 && length <= length_, "truncate to {} of {}", length, length_);
  length_ = length;
}

void KvCache::stretch(int64_t length) {
  VLM_CHECK(length_ > 0, "stretch an empty cache");
  for (Layer& layer : layers_)
    for (ops::KvStore* kept : {&layer.k, &layer.v}) {
      if (kept->capacity() < length) *kept = resized(*kept, length, length_);
      for (int64_t row = length_; row < length; row += length_)
        ops::copy_kv(*kept, 0, *kept, row, std::min(length_, length - row));
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
    for (const ops::KvStore* kept : {&layer.k, &layer.v}) {
      add(kept->rows_GCE), add(kept->scales_GCN);
      if (kept->tiles.defined()) add(kept->tiles.select(3, 0).flatten(2));
    }
  return sum;
}

KvCache KvCache::clone() const {
  KvCache copy = *this;
  copy.reserved_ = 0;
  for (Layer& layer : copy.layers_)
    for (ops::KvStore* kept : {&layer.k, &layer.v})
      if (kept->capacity() > 0) *kept = resized(*kept, length_ + kSpareRows, length_);
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
