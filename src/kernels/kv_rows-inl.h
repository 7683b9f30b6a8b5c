// Loading keys and values of any precision as float32 vectors. Included once for each instruction set.
#if defined(VLM_KERNELS_KV_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_KV_ROWS_INL_H_
#undef VLM_KERNELS_KV_ROWS_INL_H_
#else
#define VLM_KERNELS_KV_ROWS_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/kv_rows.h"
#include "kernels/load-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// One row of one group of heads.
template <typename T>
struct KvRow {
  const T* values;
  const float* scales;

  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, int64_t idx) const {
    if constexpr (sizeof(T) == 1) {
      auto quants = hn::PromoteTo(hn::Rebind<int32_t, D>(), hn::LoadU(hn::Rebind<int8_t, D>(), values + idx));
      return hn::Mul(hn::ConvertTo(d, quants), hn::Set(d, scales[idx / kKvGroup]));
    } else {
      return LoadFloats(d, values + idx);
    }
  }
};

// Of bfloat16: lines of a tile. A vector lies within one of them.
template <>
struct KvRow<hwy::bfloat16_t> {
  const hwy::bfloat16_t* values;
  int64_t stride;  // of lines

  template <class D>
  HWY_INLINE hn::Vec<D> Load(D d, int64_t idx) const {
    return LoadFloats(d, values + idx / kKvGroup * stride + idx % kKvGroup);
  }
};

// All rows of one group of heads.
template <typename T>
struct KvGroupRows {
  const T* data;
  const float* scales;
  int64_t stride, scale_stride;

  KvGroupRows(const KvRows& rows, int64_t batch, int64_t group)
      : data(static_cast<const T*>(rows.data) + batch * rows.strides[0] + group * rows.strides[2]),
        scales(rows.scales ? rows.scales + batch * rows.scale_strides[0] + group * rows.scale_strides[2]
                           : nullptr),
        stride(rows.strides[1]),
        scale_stride(rows.scale_strides[1]) {}
  HWY_INLINE KvRow<T> operator[](int64_t token) const {
    return {data + token * stride, sizeof(T) == 1 ? scales + token * scale_stride : nullptr};
  }
  // The row of the next token.
  HWY_INLINE KvRow<T> After(const KvRow<T>& row) const {
    return {row.values + stride, sizeof(T) == 1 ? row.scales + scale_stride : nullptr};
  }
};

template <>
struct KvGroupRows<hwy::bfloat16_t> {
  const hwy::bfloat16_t* data;
  int64_t stride, tile;  // of tiles, and their tokens

  KvGroupRows(const KvRows& rows, int64_t batch, int64_t group)
      : data(static_cast<const hwy::bfloat16_t*>(rows.data) + batch * rows.strides[0] +
             group * rows.strides[2]),
        stride(rows.strides[1]),
        tile(rows.tile) {}
  HWY_INLINE KvRow<hwy::bfloat16_t> operator[](int64_t token) const {
    return {data + token / tile * stride + token % tile * kKvGroup, tile * kKvGroup};
  }
  // The row of the next token of the same tile.
  HWY_INLINE KvRow<hwy::bfloat16_t> After(const KvRow<hwy::bfloat16_t>& row) const {
    return {row.values + kKvGroup, row.stride};
  }
};

// Calls body.operator()<the type's T>().
template <typename Body>
HWY_INLINE void WithKvType(KvType type, const Body& body) {
  switch (type) {
    case KvType::f32:
      return body.template operator()<float>();
    case KvType::f16:
      return body.template operator()<hwy::float16_t>();
    case KvType::int8:
      return body.template operator()<int8_t>();
    case KvType::bf16:
      return body.template operator()<hwy::bfloat16_t>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
