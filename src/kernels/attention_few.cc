// Attention of few queries, as in decoding: keys and values are read as they lie, once for all heads of a
// group. What a query computes does not depend on which others come with it, to the last bit: every sum has
// an order of its own, and what a query does not see adds zeros.
#include "kernels/attention.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_few.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/attention-inl.h"
#include "kernels/bfloat16-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// Rows of a group come in sets of 1, 2, 4 or 8; the last one is filled up with copies. Scores of a set are
// [keys, rows]: a vector holds every row of several keys, and lane l belongs to row l % rows.
constexpr int kMostRows = HWY_MIN(8, kLanes);
constexpr int64_t kBlockKeys = 32;
constexpr int64_t kPartKeys = 512;  // of a task, where threads share the keys
constexpr int64_t kLine = 64;       // bytes
// Rows are fetched this many keys before the block that needs them begins: one of few heads is multiplied in
// a few nanoseconds, and memory takes a hundred to answer. With 8 heads the block itself takes long enough.
constexpr int64_t keys_ahead(int rows) {
  return rows < 8 ? 32 : 0;
}

int RowsOfSet(int64_t rows) {
  int size = 1;
  while (size < rows && size < kMostRows) size *= 2;
  return size;
}

// Vectors that cover a row: the last ends with it and overlaps the one before where the width is odd.
struct Cover {
  int64_t width, vectors;
  explicit Cover(int64_t row_width) : width(row_width), vectors((row_width + kLanes - 1) / kLanes) {}
  int64_t at(int64_t vector) const { return HWY_MIN(vector * kLanes, width - kLanes); }
  int64_t floats() const { return vectors * kLanes; }
};

struct Set {
  int64_t first, count;  // rows of the group
  float* q;              // [vectors, rows, kLanes], scaled; zeros where the last vector overlaps
  float* sums;           // [rows, vectors of values, kLanes]
  float* largest;        // [rows]
  float* totals;         // [rows, kLanes] in the order of the scores of kLanes keys, to be added up by row
  float* scores;         // [kBlockKeys, rows]
  float* corrections;    // [rows]
};

// Where memory is what bounds, into the second-level cache: the first waits for too few lines at once to keep
// it busy.
template <int kRows, typename T>
HWY_INLINE void PrefetchRow(const KvRow<T>& row, int64_t width) {
  const char* at = reinterpret_cast<const char*>(row.values);
  for (int64_t byte = 0; byte < width * static_cast<int64_t>(sizeof(T)); byte += kLine)
    __builtin_prefetch(at + byte, 0, kRows < 8 ? 2 : 3);
}

// to[i] = sum of the lanes of sums[i].
template <int kCount>
HWY_INLINE void StoreSums(const VFloat (&sums)[kCount], float* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int idx = 0; idx < kCount; ++idx) to[idx] = hn::GetLane(sums[idx]);
#else
  static_assert(kCount % 4 == 0);
  const DFloat d;
  const hn::RepartitionToWide<DFloat> d64;
  auto pairs = [&](VFloat v) HWY_ATTR { return hn::BitCast(d64, v); };
#pragma GCC unroll 4
  for (int idx = 0; idx < kCount; idx += 4) {
    // Every block of 128 bits adds up its own lanes of four vectors, then the blocks are added.
    VFloat first = hn::Add(hn::InterleaveLower(d, sums[idx], sums[idx + 1]),
                           hn::InterleaveUpper(d, sums[idx], sums[idx + 1]));
    VFloat second = hn::Add(hn::InterleaveLower(d, sums[idx + 2], sums[idx + 3]),
                            hn::InterleaveUpper(d, sums[idx + 2], sums[idx + 3]));
    VFloat four = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, pairs(first), pairs(second))),
                          hn::BitCast(d, hn::InterleaveUpper(d64, pairs(first), pairs(second))));
    const hn::Half<DFloat> d_half;
    auto half = hn::Add(hn::LowerHalf(d_half, four), hn::UpperHalf(d_half, four));
    if constexpr (kLanes == 16) {
      const hn::Half<decltype(d_half)> d_quarter;
      hn::StoreU(hn::Add(hn::LowerHalf(d_quarter, half), hn::UpperHalf(d_quarter, half)), d_quarter,
                 to + idx);
    } else {
      hn::StoreU(half, d_half, to + idx);
    }
  }
#endif
}

// scores[key, row] = q[row] . k[first_key + key] for `count` keys, in steps of kKeys; what lies behind
// `count` in the last step is unspecified. Fetches `values` in advance, up to key `end`.
template <int kRows, typename T>
void ScoreKeys(const Set& set, const KvGroupRows<T>& k, const Cover& cover, int64_t first_key, int64_t count,
               const KvGroupRows<T>* values, int64_t value_width, int64_t end) {
  const DFloat d;
  constexpr int kKeys = HWY_MAX(1, kLanes / kRows);
  for (int64_t key = 0; key < count; key += kKeys) {
    VFloat sums[kKeys * kRows];
    KvRow<T> rows[kKeys];
#pragma GCC unroll 16
    for (int idx = 0; idx < kKeys; ++idx) {
      rows[idx] = k[first_key + HWY_MIN(key + idx, count - 1)];
      const int64_t ahead = first_key + key + idx + keys_ahead(kRows);
      if (values && ahead < end) PrefetchRow<kRows>((*values)[ahead], value_width);
    }
#pragma GCC unroll 16
    for (int idx = 0; idx < kKeys * kRows; ++idx) sums[idx] = hn::Zero(d);
    for (int64_t vector = 0; vector < cover.vectors; ++vector) {
      const int64_t at = cover.at(vector);
      const float* q = set.q + vector * kRows * kLanes;
      VFloat loaded[kKeys];
#pragma GCC unroll 16
      for (int idx = 0; idx < kKeys; ++idx) loaded[idx] = rows[idx].Load(d, at);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const VFloat query = hn::Load(d, q + row * kLanes);
#pragma GCC unroll 16
        for (int idx = 0; idx < kKeys; ++idx)
          sums[idx * kRows + row] = hn::MulAdd(query, loaded[idx], sums[idx * kRows + row]);
      }
    }
    StoreSums(sums, set.scores + key * kRows);
  }
}

// Caps, biases and hides scores.
void AdjustScores(const Attention& args, int64_t batch, int64_t group, const Set& set, int rows,
                  int64_t first_key, int64_t count) {
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
      float score = set.scores[key * rows + line];
      if (args.softcap > 0)
        score = args.softcap * hn::GetLane(Tanh(DFloat(), hn::Set(DFloat(), score / args.softcap)));
      if (args.alibi_slopes) score += args.alibi_slopes[head] * static_cast<float>(at - position);
      if (bias) score += bias[at];
      const bool is_seen = visible.Sees(at) && (!args.key_mask || args.key_mask[batch * args.keys + at]);
      set.scores[key * rows + line] = is_seen ? score : kMinusInfinity;
    }
  }
}

// Turns the scores of `count` keys, whole vectors of them, into weights relative to the largest so far.
template <int kRows>
void Softmax(const Set& set, int64_t count) {
  const DFloat d;
  VFloat most = hn::Set(d, kMinusInfinity);
  for (int64_t idx = 0; idx < count * kRows; idx += kLanes)
    most = hn::Max(most, hn::Load(d, set.scores + idx));
  HWY_ALIGN float lanes[kLanes];
  HWY_ALIGN float factors[kLanes];
  hn::Store(hn::Mul(most, hn::Set(d, kLog2e)), d, lanes);
  float references[kRows];
  for (int row = 0; row < kRows; ++row) {
    float now = set.largest[row];
    for (int lane = row; lane < kLanes; lane += kRows) now = HWY_MAX(now, lanes[lane]);
    // Nothing seen yet: any finite number makes the weights 2^(-inf - 0) = 0.
    references[row] = now == kMinusInfinity ? 0.0f : now;
    for (int lane = row; lane < kLanes; lane += kRows) factors[lane] = set.largest[row] - references[row];
    set.largest[row] = now;
  }
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = references[lane % kRows];
  const VFloat reference = hn::Load(d, lanes);
  const VFloat factor = Exp2(hn::Load(d, factors));
  hn::Store(factor, d, factors);
  for (int row = 0; row < kRows; ++row) set.corrections[row] = factors[row];
  for (int64_t idx = 0; idx < kLanes * kRows; idx += kLanes)
    hn::Store(hn::Mul(hn::Load(d, set.totals + idx), factor), d, set.totals + idx);
  for (int64_t idx = 0; idx < count * kRows; idx += kLanes) {
    const VFloat weight = Weight(hn::Load(d, set.scores + idx), reference);
    float* total = set.totals + idx % (kLanes * kRows);
    hn::Store(hn::Add(hn::Load(d, total), weight), d, total);
    hn::Store(weight, d, set.scores + idx);
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

// sums = sums * correction + weights . v for kVectors vectors of features. Fetches the keys of the blocks
// that follow, up to key `end`.
template <int kRows, int kVectors, typename T>
void AddColumns(const Set& set, const KvGroupRows<T>& v, const Cover& cover, int64_t vector,
                int64_t first_key, int64_t count, const KvGroupRows<T>* next, int64_t next_width,
                int64_t end) {
  const DFloat d;
  VFloat added[kRows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx) added[row][idx] = hn::Zero(d);
  for (int64_t key = 0; key < count; ++key) {
    const KvRow<T> row_of_key = v[first_key + key];
    const int64_t ahead = first_key + kBlockKeys + key + keys_ahead(kRows);
    if (next && ahead < end) PrefetchRow<kRows>((*next)[ahead], next_width);
    VFloat loaded[kVectors];
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx) loaded[idx] = row_of_key.Load(d, cover.at(vector + idx));
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const VFloat weight = hn::Set(d, set.scores[key * kRows + row]);
#pragma GCC unroll 16
      for (int idx = 0; idx < kVectors; ++idx)
        added[row][idx] = hn::MulAdd(weight, loaded[idx], added[row][idx]);
    }
  }
  StoreAdded<kRows, kVectors>(set, added, cover, vector);
}

template <int kRows, typename T>
void AddValues(const Set& set, const KvGroupRows<T>& v, const Cover& cover, int64_t first_key, int64_t count,
               const KvGroupRows<T>* next, int64_t next_width, int64_t end) {
  // 16 sums in registers of AVX-512, 8 of AVX2, but never more vectors than a narrow head has.
  constexpr int kMost = HWY_MIN(8, HWY_MAX(1, (kLanes == 16 ? 16 : 8) / kRows));
  int64_t vector = 0;
  auto add = [&]<int kVectors>() {
    for (; vector + kVectors <= cover.vectors; vector += kVectors) {
      AddColumns<kRows, kVectors>(set, v, cover, vector, first_key, count, next, next_width, end);
      next = nullptr;  // once is enough
    }
  };
  add.template operator()<kMost>();
  if constexpr (kMost > 4) add.template operator()<4>();
  if constexpr (kMost > 2) add.template operator()<2>();
  add.template operator()<1>();
}

void StartSet(const Attention& args, int64_t batch, int64_t group, const Set& set, int rows,
              const Cover& keys, const Cover& values) {
  const int64_t repeat = args.heads / args.groups;
  for (int line = 0; line < rows; ++line) {
    const int64_t row = set.first + HWY_MIN(int64_t{line}, set.count - 1);
    const float* q = QueryAt(args, batch, row / repeat, group * repeat + row % repeat);
    for (int64_t vector = 0; vector < keys.vectors; ++vector)
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const int64_t feature = keys.at(vector) + lane;
        const bool is_own = feature >= vector * kLanes && feature < args.width;
        set.q[(vector * rows + line) * kLanes + lane] = is_own ? q[feature] * args.scale : 0.0f;
      }
    set.largest[line] = kMinusInfinity;
  }
  for (int64_t idx = 0; idx < rows * kLanes; ++idx) set.totals[idx] = 0.0f;
  for (int64_t idx = 0; idx < rows * values.floats(); ++idx) set.sums[idx] = 0.0f;
}

// Turns the scores of a block into weights.
template <int kRows>
void Weigh(const Attention& args, int64_t batch, int64_t group, const Set& set, int64_t first_key,
           int64_t count) {
  constexpr int64_t kKeys = HWY_MAX(1, kLanes / kRows);
  if (IsAdjusted(args) || args.queries > 1 || args.window > 0)
    AdjustScores(args, batch, group, set, kRows, first_key, count);
  const int64_t padded = (count + kKeys - 1) / kKeys * kKeys;
  for (int64_t at = count * kRows; at < padded * kRows; ++at) set.scores[at] = kMinusInfinity;
  Softmax<kRows>(set, padded);
}

// Calls body(key, count) for the blocks of [first_key, last_key) that some query sees.
template <typename Body>
HWY_INLINE void ForBlocks(const Attention& args, int64_t first_key, int64_t last_key, const Body& body) {
  const Visible some = VisibleToSome(args, 0, args.queries - 1);
  for (int64_t key = first_key; key < last_key; key += kBlockKeys) {
    const int64_t count = HWY_MIN(kBlockKeys, last_key - key);
    if (key + count <= some.first && key >= some.prefix) continue;
    body(key, count);
  }
}

template <int kRows, typename T>
void AttendKeys(const Attention& args, int64_t batch, int64_t group, const Set* sets, int64_t num_sets,
                int64_t first_key, int64_t last_key) {
  const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));
  ForBlocks(args, first_key, last_key, [&](int64_t key, int64_t count) {
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      ScoreKeys<kRows>(sets[idx], k, keys, key, count, idx == 0 ? &v : nullptr, values.width, args.keys);
      Weigh<kRows>(args, batch, group, sets[idx], key, count);
    }
    for (int64_t idx = 0; idx < num_sets; ++idx)
      AddValues<kRows>(sets[idx], v, values, key, count, idx == 0 ? &k : nullptr, keys.width, args.keys);
  });
}

#if VLM_HAS_PAIRS

// Sets of 8 rows in products of pairs. Turning keys into panels, which a score needs no sum of lanes for,
// costs as much as multiplying four rows.
constexpr int kPairRows = 8;
constexpr int kKeyVectors = kBlockKeys / kLanes;
static_assert(kLanes == 16 && kKeyVectors == 2);

bool TakesPairs(const Attention& args) {
  return args.may_round && args.heads / args.groups > kPairRows / 2 && has_pairs();
}
// Of a row: each two vectors of its cover are 16 elements.
int64_t PairsOf(const Cover& cover) {
  return (cover.vectors + 1) / 2 * kLanes;
}

// Of four vectors: lane l of each block of 128 bits of all four becomes block after block of vector l.
HWY_INLINE void TransposeInBlocks(VFloat (&rows)[4]) {
  const DFloat d;
  const hn::RepartitionToWide<DFloat> d64;
  auto pairs = [&](VFloat v) HWY_ATTR { return hn::BitCast(d64, v); };
  const auto low01 = pairs(hn::InterleaveLower(d, rows[0], rows[1]));
  const auto high01 = pairs(hn::InterleaveUpper(d, rows[0], rows[1]));
  const auto low23 = pairs(hn::InterleaveLower(d, rows[2], rows[3]));
  const auto high23 = pairs(hn::InterleaveUpper(d, rows[2], rows[3]));
  rows[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  rows[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  rows[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  rows[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

// Of four vectors: block b of 128 bits of each becomes vector b.
HWY_INLINE void TransposeBlocks(VFloat& a, VFloat& b, VFloat& c, VFloat& d) {
  const __m512 even_ab = _mm512_shuffle_f32x4(a.raw, b.raw, 0x88),
               odd_ab = _mm512_shuffle_f32x4(a.raw, b.raw, 0xdd);
  const __m512 even_cd = _mm512_shuffle_f32x4(c.raw, d.raw, 0x88),
               odd_cd = _mm512_shuffle_f32x4(c.raw, d.raw, 0xdd);
  a.raw = _mm512_shuffle_f32x4(even_ab, even_cd, 0x88);
  b.raw = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0x88);
  c.raw = _mm512_shuffle_f32x4(even_ab, even_cd, 0xdd);
  d.raw = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0xdd);
}

// to[lane, row] = rows[row][lane]
HWY_INLINE void StoreTransposed(VFloat (&rows)[4][4], float* to, int64_t to_stride) {
#pragma GCC unroll 4
  for (auto& four : rows) TransposeInBlocks(four);
#pragma GCC unroll 4
  for (int lane = 0; lane < 4; ++lane) {
    TransposeBlocks(rows[0][lane], rows[1][lane], rows[2][lane], rows[3][lane]);
#pragma GCC unroll 4
    for (int block = 0; block < 4; ++block)
      hn::Store(rows[block][lane], DFloat(), to + (4 * block + lane) * to_stride);
  }
}

// The same for 8 rows without gaps, two lanes of all rows a vector.
HWY_INLINE void StoreTransposed(VFloat (&rows)[2][4], float* to) {
  TransposeInBlocks(rows[0]);
  TransposeInBlocks(rows[1]);
#pragma GCC unroll 2
  for (int lane = 0; lane < 4; lane += 2) {
    VFloat vectors[4] = {rows[0][lane], rows[1][lane], rows[0][lane + 1], rows[1][lane + 1]};
    TransposeBlocks(vectors[0], vectors[1], vectors[2], vectors[3]);
#pragma GCC unroll 4
    for (int block = 0; block < 4; ++block)
      hn::Store(vectors[block], DFloat(), to + (4 * block + lane) * kPairRows);
  }
}

// The numbers of the vectors `vector` and, unless that was the last, `vector + 1`, which load() finds.
template <typename Load>
HWY_INLINE VFloat PairVectors(const Cover& cover, int64_t vector, const Load& load) {
  const bool is_last = vector + 1 == cover.vectors;
  return Pair::OfNeighbours(load(vector), is_last ? hn::Zero(DFloat()) : load(vector + 1));
}

// The queries of a set as [elements, kPairRows], in place of its floats.
void PairQueries(const Set& set, const Cover& cover) {
  const DFloat d;
  for (int64_t vector = 0; vector < cover.vectors; vector += 2) {
    VFloat rows[2][4];
    for (int row = 0; row < kPairRows; ++row)
      rows[row / 4][row % 4] = PairVectors(cover, vector, [&](int64_t at) HWY_ATTR {
        return hn::Load(d, set.q + (at * kPairRows + row) * kLanes);
      });
    StoreTransposed(rows, set.q + vector / 2 * kLanes * kPairRows);
  }
}

// A block of keys as a panel [elements of a row, kBlockKeys]. Fetches their values.
template <typename T>
void PackKeys(const KvGroupRows<T>& k, const Cover& cover, int64_t first_key, int64_t count,
              const KvGroupRows<T>& values, int64_t value_width, float* to) {
  const DFloat d;
  for (int64_t key = 0; key < count; key += kLanes) {
    const int64_t keys = HWY_MIN(kLanes, count - key);
    for (int64_t idx = key; idx < key + keys; ++idx)
      PrefetchRow<kPairRows>(values[first_key + idx], value_width);
    for (int64_t vector = 0; vector < cover.vectors; vector += 2) {
      VFloat rows[4][4];
      KvRow<T> row = k[first_key + key];
#pragma GCC unroll 16
      for (int idx = 0; idx < kLanes; ++idx) {
        rows[idx / 4][idx % 4] =
            PairVectors(cover, vector, [&](int64_t at) HWY_ATTR { return row.Load(d, cover.at(at)); });
        if (HWY_LIKELY(idx + 1 < keys)) row = k.After(row);
      }
      StoreTransposed(rows, to + vector / 2 * kLanes * kBlockKeys + key, kBlockKeys);
    }
  }
}

// scores[key, row] of a block whose keys are packed.
void ScorePairs(const Set& set, const float* panel, int64_t elements) {
  const DFloat d;
  VFloat sums[kKeyVectors][2][4];
#pragma GCC unroll 2
  for (auto& rows : sums)
#pragma GCC unroll 8
    for (int row = 0; row < kPairRows; ++row) rows[row / 4][row % 4] = hn::Zero(d);
  for (int64_t element = 0; element < elements; ++element) {
    const VFloat first = hn::Load(d, panel + element * kBlockKeys);
    const VFloat second = hn::Load(d, panel + element * kBlockKeys + kLanes);
#pragma GCC unroll 8
    for (int row = 0; row < kPairRows; ++row) {
      const VFloat query = hn::Set(d, set.q[element * kPairRows + row]);
      sums[0][row / 4][row % 4] = Pair::MulAdd(query, first, sums[0][row / 4][row % 4]);
      sums[1][row / 4][row % 4] = Pair::MulAdd(query, second, sums[1][row / 4][row % 4]);
    }
  }
  StoreTransposed(sums[0], set.scores);
  StoreTransposed(sums[1], set.scores + kLanes * kPairRows);
}

// Weights as [pairs of keys, rows], in place of their floats.
void PairWeights(const Set& set, int64_t count) {
  const DFloat d;
  for (int64_t key = 0; key < count; key += 2) {
    const VFloat two = hn::Load(d, set.scores + key * kPairRows);
    const VFloat other = hn::ConcatUpperUpper(d, two, two);
    const VFloat pairs = Pair::Of(two, other);
    hn::Store(hn::LowerHalf(hn::Half<DFloat>(), pairs), hn::Half<DFloat>(), set.scores + key / 2 * kPairRows);
  }
}

// As AddColumns().
template <int kVectors, typename T>
void AddPairColumns(const Set& set, const KvGroupRows<T>& v, const Cover& cover, int64_t vector,
                    int64_t first_key, int64_t count, const KvGroupRows<T>* next, int64_t next_width,
                    int64_t end) {
  const DFloat d;
  VFloat added[kPairRows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < kPairRows; ++row)
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx) added[row][idx] = hn::Zero(d);
  auto add = [&](int64_t key, const KvRow<T>& even, const KvRow<T>* odd) VLM_ATTR_OF_PAIRS {
    VFloat loaded[kVectors];
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx) {
      const int64_t at = cover.at(vector + idx);
      loaded[idx] = Pair::Of(even.Load(d, at), odd ? odd->Load(d, at) : hn::Zero(d));
    }
#pragma GCC unroll 16
    for (int row = 0; row < kPairRows; ++row) {
      const VFloat weight = hn::Set(d, set.scores[key / 2 * kPairRows + row]);
#pragma GCC unroll 16
      for (int idx = 0; idx < kVectors; ++idx)
        added[row][idx] = Pair::MulAdd(weight, loaded[idx], added[row][idx]);
    }
  };
  KvRow<T> even = v[first_key];
  int64_t key = 0;
  for (; key + 2 <= count; key += 2) {
    const int64_t ahead = first_key + kBlockKeys + key;
    if (next && ahead < end) {
      PrefetchRow<kPairRows>((*next)[ahead], next_width);
      PrefetchRow<kPairRows>((*next)[HWY_MIN(ahead + 1, end - 1)], next_width);
    }
    const KvRow<T> odd = v.After(even);
    add(key, even, &odd);
    even = v.After(odd);
  }
  if (key < count) add(key, even, nullptr);
  StoreAdded<kPairRows, kVectors>(set, added, cover, vector);
}

// As AttendKeys(). `packed`: room for a block's keys.
template <typename T>
void AttendPairs(const Attention& args, int64_t batch, int64_t group, const Set* sets, int64_t num_sets,
                 int64_t first_key, int64_t last_key, float* packed) {
  const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));
  for (int64_t idx = 0; idx < num_sets; ++idx) PairQueries(sets[idx], keys);
  ForBlocks(args, first_key, last_key, [&](int64_t key, int64_t count) {
    PackKeys(k, keys, key, count, v, values.width, packed);
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      ScorePairs(sets[idx], packed, PairsOf(keys));
      Weigh<kPairRows>(args, batch, group, sets[idx], key, count);
      PairWeights(sets[idx], count);
    }
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      const KvGroupRows<T>* next = idx == 0 ? &k : nullptr;
      for (int64_t vector = 0; vector < values.vectors; vector += 2, next = nullptr)
        (vector + 1 < values.vectors ? AddPairColumns<2, T> : AddPairColumns<1, T>)(sets[idx], v, values,
                                                                                    vector, key, count, next,
                                                                                    keys.width, args.keys);
    }
  });
}

#endif

// Calls body.operator()<rows>().
template <typename Body>
HWY_INLINE void WithRows(int rows, const Body& body) {
  if constexpr (kMostRows >= 8) {
    if (rows == 8) return body.template operator()<8>();
    if (rows == 4) return body.template operator()<4>();
    if (rows == 2) return body.template operator()<2>();
  }
  body.template operator()<1>();
}

void AttendFew(const Attention& args) {
  const int64_t group_rows = args.heads / args.groups * args.queries, repeat = args.heads / args.groups;
  const int rows = RowsOfSet(group_rows);
  const int64_t num_sets = (group_rows + rows - 1) / rows, tasks = args.batch * args.groups;
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));

  // Few heads and many keys: threads share the keys, in parts that begin where they do for any number of
  // keys.
  const int64_t parts = tasks >= 4 * num_threads() ? 1 : (args.keys + kPartKeys - 1) / kPartKeys;

  const int64_t state_floats = rows * values.floats() + rows * kLanes + (rows + 15) / 16 * 16;
  const int64_t work_floats = rows * keys.floats() + kBlockKeys * rows + (rows + 15) / 16 * 16;
  int64_t packed_floats = 0;
#if VLM_HAS_PAIRS
  const bool takes_pairs = TakesPairs(args);
  if (takes_pairs) packed_floats = PairsOf(keys) * kBlockKeys;
#endif
  static thread_local Scratch memory;
  float* states = memory.get<float>(tasks * parts * num_sets * state_floats);
  // Without `work`, what was found can be read, and nothing added.
  auto set_at = [&](int64_t idx, int64_t number, float* work) {
    Set set{};
    set.first = number * rows;
    set.count = HWY_MIN(int64_t{rows}, group_rows - set.first);
    set.sums = states + (idx * num_sets + number) * state_floats;
    set.totals = set.sums + rows * values.floats();
    set.largest = set.totals + rows * kLanes;
    if (!work) return set;
    set.q = work;
    set.scores = set.q + rows * keys.floats();
    set.corrections = set.scores + kBlockKeys * rows;
    return set;
  };
  auto finish = [&](int64_t task) {
    const int64_t batch = task / args.groups, group = task % args.groups;
    for (int64_t row = 0; row < group_rows; ++row) {
      const int64_t line = row % rows;
      auto state = [&](int64_t part) {
        const Set set = set_at(task * parts + part, row / rows, nullptr);
        float total = 0.0f;
        for (int64_t at = line; at < rows * kLanes; at += rows) total += set.totals[at];
        return RowState{set.sums + line * values.floats(), set.largest[line], total};
      };
      // Where the last vector of values overlaps, its features stand behind the others.
      FinishRow(parts, state, OutputAt(args, batch, row / repeat, group * repeat + row % repeat),
                args.value_width, HWY_MIN(args.value_width, values.floats() - kLanes),
                values.floats() - values.width);
    }
  };

  const int64_t operations =
      2 * args.batch * args.heads * args.queries * args.keys * (args.width + args.value_width);
  // In runs: what a part fetches in advance at its end is the beginning of the same thread's next one.
  for_each_in_runs(tasks * parts, operations, [&](int64_t idx) {
    const int64_t task = idx / parts, part = idx % parts;
    const int64_t batch = task / args.groups, group = task % args.groups;
    static thread_local Scratch scratch;
    float* work = scratch.get<float>(num_sets * work_floats + packed_floats);
    Set sets[kMostRowsOfFew];
    for (int64_t number = 0; number < num_sets; ++number) {
      sets[number] = set_at(idx, number, work + number * work_floats);
      StartSet(args, batch, group, sets[number], rows, keys, values);
    }
    const int64_t first_key = part * kPartKeys;
    const int64_t last_key = parts == 1 ? args.keys : HWY_MIN(args.keys, first_key + kPartKeys);
    WithKvType(args.kv_type, [&]<typename T>() {
#if VLM_HAS_PAIRS
      if (takes_pairs)
        return AttendPairs<T>(args, batch, group, sets, num_sets, first_key, last_key,
                              work + num_sets * work_floats);
#endif
      WithRows(rows, [&]<int kRows>() {
        AttendKeys<kRows, T>(args, batch, group, sets, num_sets, first_key, last_key);
      });
    });
    if (parts == 1) finish(task);
  });
  if (parts > 1)
    for (int64_t task = 0; task < tasks; ++task) finish(task);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(AttendFew);

void attention_few_rows(const Attention& args) {
  HWY_DYNAMIC_DISPATCH(AttendFew)(args);
}

}  // namespace vlm::kernels
#endif
