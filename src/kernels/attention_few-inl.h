// What both kernels of few queries share. Included once for each instruction set.
#if defined(VLM_KERNELS_ATTENTION_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_ATTENTION_FEW_INL_H_
#undef VLM_KERNELS_ATTENTION_FEW_INL_H_
#else
#define VLM_KERNELS_ATTENTION_FEW_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/attention-inl.h"
#include "kernels/bfloat16-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

// Vectors that cover a row: the last ends with it and overlaps the one before where the width is odd.
struct Cover {
  int64_t width, vectors;
  explicit Cover(int64_t row_width) : width(row_width), vectors((row_width + kLanes - 1) / kLanes) {}
  int64_t at(int64_t vector) const { return HWY_MIN(vector * kLanes, width - kLanes); }
  int64_t floats() const { return vectors * kLanes; }
};

// Rows of one group and what became of them.
struct Set {
  int64_t first, count;  // rows of the group
  float* q;              // [vectors, rows, kLanes], scaled; zeros where the last vector overlaps
  float* sums;           // [rows, vectors of values, kLanes]
  float* largest;        // [rows], and room for kLanes
  float* totals;         // [rows, kLanes]: of each lane of scores, at the end [rows]
  float* scores;         // [keys of a block, rows], or the other way round
  float* corrections;    // [rows], and room for kLanes
};

inline void StartSet(const Attention& args, int64_t batch, int64_t group, const Set& set, int rows,
                     const Cover& keys, const Cover& values) {
  const DFloat d;
  const int64_t repeat = args.heads / args.groups;
  const VFloat scale = hn::Set(d, args.scale);
  for (int line = 0; line < rows; ++line) {
    const int64_t row = set.first + HWY_MIN(int64_t{line}, set.count - 1);
    const float* q = QueryAt(args, batch, row / repeat, group * repeat + row % repeat);
    for (int64_t vector = 0; vector < keys.vectors; ++vector) {
      float* to = set.q + (vector * rows + line) * kLanes;
      const int64_t at = keys.at(vector);
      if (at == vector * kLanes && at + kLanes <= args.width) {
        hn::Store(hn::Mul(hn::LoadU(d, q + at), scale), d, to);
        continue;
      }
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const int64_t feature = at + lane;
        const bool is_own = feature >= vector * kLanes && feature < args.width;
        to[lane] = is_own ? q[feature] * args.scale : 0.0f;
      }
    }
  }
  const VFloat zero = hn::Zero(d);
  hn::Store(hn::Set(d, kMinusInfinity), d, set.largest);
  for (int64_t idx = 0; idx < rows * kLanes; idx += kLanes) hn::Store(zero, d, set.totals + idx);
  for (int64_t idx = 0; idx < rows * values.floats(); idx += kLanes) hn::Store(zero, d, set.sums + idx);
}

// Caps, biases and hides scores; those of a key, and those of a row, lie so far apart.
inline void AdjustScores(const Attention& args, int64_t batch, int64_t group, const Set& set, int rows,
                         int64_t first_key, int64_t count, int64_t key_stride, int64_t row_stride) {
  if (!IsAdjusted(args) && args.queries == 1 && args.window == 0) return;
  const int64_t repeat = args.heads / args.groups;
  for (int line = 0; line < rows; ++line) {
    const int64_t row = set.first + HWY_MIN(int64_t{line}, set.count - 1);
    const int64_t query = row / repeat, head = group * repeat + row % repeat;
    const Visible visible = VisibleTo(args, query);
    const int64_t position = args.keys - args.queries + query;
    const float* bias = args.bias ? args.bias + batch * args.bias_strides[0] + head * args.bias_strides[1] +
                                        query * args.bias_strides[2]
                                  : nullptr;
    for (int64_t key = 0; key < count; ++key) {
      const int64_t at = first_key + key;
      float& kept = set.scores[key * key_stride + line * row_stride];
      float score = kept;
      if (args.softcap > 0)
        score = args.softcap * hn::GetLane(Tanh(DFloat(), hn::Set(DFloat(), score / args.softcap)));
      if (args.alibi_slopes) score += args.alibi_slopes[head] * static_cast<float>(at - position);
      if (bias) score += bias[at];
      const bool is_seen = visible.Sees(at) && (!args.key_mask || args.key_mask[batch * args.keys + at]);
      kept = is_seen ? score : kMinusInfinity;
    }
  }
}

// Calls body(key, count) for the blocks of kKeys keys of [first_key, last_key) that some query sees.
template <int64_t kKeys, typename Body>
HWY_INLINE void ForBlocks(const Attention& args, int64_t first_key, int64_t last_key, const Body& body) {
  const Visible some = VisibleToSome(args, 0, args.queries - 1);
  for (int64_t key = first_key; key < last_key; key += kKeys) {
    const int64_t count = HWY_MIN(kKeys, last_key - key);
    if (key + count <= some.first && key >= some.prefix) continue;
    body(key, count);
  }
}

// sums = sums * correction + added
template <int kRows, int kVectors>
HWY_INLINE void StoreAdded(const Set& set, const VFloat (&added)[kRows][kVectors], const Cover& cover,
                           int64_t vector) {
  const DFloat d;
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    const VFloat correction = hn::Set(d, set.corrections[row]);
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx) {
      float* at = set.sums + row * cover.floats() + (vector + idx) * kLanes;
      hn::Store(hn::MulAdd(hn::Load(d, at), correction, added[row][idx]), d, at);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
