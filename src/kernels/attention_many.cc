// Attention of many queries: keys are packed block by block for the tiles of a matrix product.
#include "kernels/attention.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_many.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/attention-inl.h"
#include "kernels/bfloat16-inl.h"
#include "kernels/transpose-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// A tile of scores or outputs is 12 rows by 2 vectors in the 32 registers of AVX-512, 6 by 2 in the 16 of
// AVX2: most of them are sums, and each number loaded serves several.
constexpr int kVectors = kLanes == 1 ? 4 : 2;
constexpr int64_t kColumns = kVectors * kLanes;
constexpr int kMaxHeight = kLanes == 16 ? 12 : 6;
constexpr int64_t kBlockRows = 24;   // rows that pass a panel of keys while it lies in the first-level cache
constexpr int64_t kBlockKeys = 256;  // whose scores lie in the first-level cache
// Of blocks that lie packed at once: all there are, which fills most of a second-level cache of 1 MB, or else
// fewer, with room beside them for the rows.
constexpr int64_t kAllPackedFloats = 160 << 10;
constexpr int64_t kPackedFloats = 64 << 10;
constexpr int64_t kLineBytes = 64;
static_assert(kBlockKeys % (2 * kColumns) == 0 && kBlockRows % kMaxHeight == 0);

int64_t Padded(int64_t width) {
  return (width + kLanes - 1) / kLanes * kLanes;
}

// Pairs of queries and keys are neighbouring features, those of weights and values neighbouring keys.
template <class Element>
constexpr int64_t kBlockElements = kBlockKeys / Element::kNumbers;

template <class Element>
int64_t BlockFloats(const Attention& args) {
  return kBlockKeys * ElementsOf<Element>(args.width) + kBlockElements<Element> * Padded(args.value_width);
}

// Columns of the panel of values that begins at `column`.
int64_t PanelWidth(int64_t column, int64_t value_stride) {
  return value_stride - column < kColumns ? kLanes : kColumns;
}

// The vector of a row at `idx`, with zeros from `width` on.
template <typename T>
HWY_INLINE VFloat LoadUpTo(const KvRow<T>& row, int64_t idx, int64_t width) {
  const DFloat d;
  if (HWY_LIKELY(idx + kLanes <= width)) return row.Load(d, idx);
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kLanes == 16)  // head sizes are mostly multiples of 8
    if (idx + kLanes / 2 == width) return hn::ZeroExtendVector(d, row.Load(hn::Half<DFloat>(), idx));
#endif
  HWY_ALIGN float rest[kLanes] = {};
  const hn::CappedTag<float, 1> d1;
  for (int64_t lane = 0; idx + lane < width; ++lane) rest[lane] = hn::GetLane(row.Load(d1, idx + lane));
  return hn::Load(d, rest);
}

template <typename T>
HWY_INLINE void PrefetchRow(const T* values, int64_t width) {
  for (int64_t idx = 0; idx < width; idx += kLineBytes / static_cast<int64_t>(sizeof(T)))
    hwy::Prefetch(values + idx);
}

// to[column * kColumns + row] = from[row * stride + column] for `count` rows of a panel.
void PackKeys(const float* from, int64_t stride, int64_t count, int64_t columns, float* to) {
  int64_t row = 0;
#if HWY_TARGET <= HWY_AVX3
  const DFloat d;
  const hn::Repartition<double, DFloat> d64;
  for (; row + kLanes <= count; row += kLanes) {
    const float* at = from + row * stride;
    int64_t column = 0;
    for (; column + 4 <= columns; column += 4) {
      // Block b of 128 bits of vector i holds 4 columns of row 4 b + i.
      hn::VFromD<decltype(d64)> pairs[4];
      VFloat rows[4];
#pragma GCC unroll 4
      for (int64_t idx = 0; idx < 4; ++idx) {
        const float* first = at + idx * stride + column;
        __m512 blocks = _mm512_castps128_ps512(_mm_loadu_ps(first));
        blocks = _mm512_insertf32x4(blocks, _mm_loadu_ps(first + 4 * stride), 1);
        blocks = _mm512_insertf32x4(blocks, _mm_loadu_ps(first + 8 * stride), 2);
        rows[idx] = VFloat{_mm512_insertf32x4(blocks, _mm_loadu_ps(first + 12 * stride), 3)};
      }
      pairs[0] = hn::BitCast(d64, hn::InterleaveLower(d, rows[0], rows[1]));
      pairs[1] = hn::BitCast(d64, hn::InterleaveUpper(d, rows[0], rows[1]));
      pairs[2] = hn::BitCast(d64, hn::InterleaveLower(d, rows[2], rows[3]));
      pairs[3] = hn::BitCast(d64, hn::InterleaveUpper(d, rows[2], rows[3]));
      float* out = to + column * kColumns + row;
      hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, pairs[0], pairs[2])), d, out);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, pairs[0], pairs[2])), d, out + kColumns);
      hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, pairs[1], pairs[3])), d, out + 2 * kColumns);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, pairs[1], pairs[3])), d, out + 3 * kColumns);
    }
    if (column < columns)
      Transpose(at + column, stride, kLanes, columns - column, to + column * kColumns + row, kColumns);
  }
#endif
  if (row < count) Transpose(from + row * stride, stride, count - row, columns, to + row, kColumns);
}

// Keys as panels [elements of a key, kColumns], then values as panels [elements of a block, PanelWidth].
// `rows`: room for the keys' elements, each in whole vectors.
template <class Element>
void PackBlock(const Attention& args, int64_t batch, int64_t group, int64_t first_key, int64_t count,
               float* rows, float* to) {
  const DFloat d;
  // Rows lie far apart, where no prefetcher finds them, and often whole pages apart, where the first-level
  // cache has room for 8.
  constexpr int64_t kAhead = 6;
  // Copied, since vectors that are stored might otherwise have changed them.
  const int64_t key_width = args.width, value_width = args.value_width;
  const int64_t key_elements = ElementsOf<Element>(key_width), value_stride = Padded(value_width);
  const int64_t whole = count / kColumns * kColumns;
  if (whole < count)
    for (int64_t idx = 0; idx < kColumns * key_elements; ++idx) to[whole * key_elements + idx] = 0.0f;
  WithKvType(args.kv_type, [&]<typename T>() {
    const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
    const float* from = rows;
    int64_t stride = Padded(key_elements);
    if constexpr (sizeof(T) == sizeof(float) && Element::kNumbers == 1) {
      from = k[first_key].values, stride = k.stride;
    } else {
      for (int64_t key = 0; key < count; ++key) {
        if (key + kAhead < count) PrefetchRow(k[first_key + key + kAhead].values, key_width);
        StoreElements<Element>(key_width, rows + key * stride, [&](int64_t idx) VLM_ATTR_OF_PAIRS {
          return LoadUpTo(k[first_key + key], idx, key_width);
        });
      }
    }
    for (int64_t key = 0; key < count; key += kColumns)
      PackKeys(from + key * stride, stride, HWY_MIN(kColumns, count - key), key_elements,
               to + key * key_elements);
    float* values = to + kBlockKeys * key_elements;
    for (int64_t key = 0; key < count; key += Element::kNumbers) {
      for (int64_t ahead = key + kAhead; ahead < HWY_MIN(key + kAhead + Element::kNumbers, count); ++ahead)
        PrefetchRow(v[first_key + ahead].values, value_width);
      const KvRow<T> row = v[first_key + key];
      for (int64_t column = 0; column < value_stride;) {
        const int64_t width = PanelWidth(column, value_stride);
        float* panel = values + column * kBlockElements<Element> + key / Element::kNumbers * width;
        for (int64_t idx = 0; idx < width; idx += kLanes) {
          VFloat elements = LoadUpTo(row, column + idx, value_width);
          if constexpr (Element::kNumbers == 2)
            elements = Element::Of(elements, key + 1 < count
                                                 ? LoadUpTo(v[first_key + key + 1], column + idx, value_width)
                                                 : hn::Zero(d));
          hn::Store(elements, d, panel + idx);
        }
        column += width;
      }
    }
  });
}

// Rows that pass one block of keys together, and what is known of them.
struct Rows {
  int64_t first, count;
  int height;      // of a tile: 1, 2, 4, 6, 8 or 12
  float* q;        // [tiles, elements of a query, height], scaled
  float* sums;     // [tiles * height, padded value width]
  float* largest;  // [kPaddedRows]
  float* totals;   // [tiles * height, kLanes], to be added up
  int64_t tiles;
};
constexpr int64_t kPaddedRows = (kBlockRows + kLanes - 1) / kLanes * kLanes;
int64_t RowsFloats(const Attention& args) {
  return kBlockRows * (args.width + Padded(args.value_width) + kLanes) + kPaddedRows;
}
Rows RowsIn(const Attention& args, int64_t first, int64_t last, float* memory) {
  Rows rows{};
  rows.first = first;
  rows.count = HWY_MIN(kBlockRows, last - first);
  const int64_t tiles = (rows.count + kMaxHeight - 1) / kMaxHeight;
  const int64_t wanted = (rows.count + tiles - 1) / tiles;
  rows.height = kMaxHeight;
  for (int height : {8, 6, 4, 2, 1})
    if (wanted <= height && height <= kMaxHeight) rows.height = height;
  rows.tiles = (rows.count + rows.height - 1) / rows.height;
  rows.sums = memory;
  rows.totals = rows.sums + kBlockRows * Padded(args.value_width);
  rows.largest = rows.totals + kBlockRows * kLanes;
  rows.q = rows.largest + kPaddedRows;
  return rows;
}

// Of the rows that pass: a thread's own.
struct Work {
  float* scores;       // [kBlockRows, kBlockKeys]
  float* references;   // [kPaddedRows]
  float* corrections;  // [kPaddedRows]
};

// Sums of a tile. Low tiles are added up in several chains, or each addition would wait for the one before.
template <class Element, int kHeight, int kWidth>
struct TileSums {
  static constexpr int kChains = HWY_MAX(1, 8 / (kHeight * kWidth));
  VFloat chains[kChains][kHeight][kWidth];

  HWY_INLINE TileSums() {
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
        for (int vector = 0; vector < kWidth; ++vector) chains[chain][row][vector] = hn::Zero(DFloat());
  }

  // Adds factors[row * factor_stride] times the columns.
  HWY_INLINE void Add(int chain, const float* factors, int64_t factor_stride, const float* columns) {
    const DFloat d;
    VFloat values[kWidth];
#pragma GCC unroll 16
    for (int vector = 0; vector < kWidth; ++vector) values[vector] = hn::Load(d, columns + vector * kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row) {
      VFloat factor = hn::Set(d, factors[row * factor_stride]);
#pragma GCC unroll 16
      for (int vector = 0; vector < kWidth; ++vector)
        chains[chain][row][vector] = Element::MulAdd(factor, values[vector], chains[chain][row][vector]);
    }
  }

  HWY_INLINE VFloat Total(int row, int vector) const {
    VFloat total = chains[0][row][vector];
#pragma GCC unroll 8
    for (int chain = 1; chain < kChains; ++chain) total = hn::Add(total, chains[chain][row][vector]);
    return total;
  }
};

// scores = q . k^T for one tile of rows and the first kWidth vectors of one panel of keys.
template <class Element, int kHeight, int kWidth>
HWY_NOINLINE void Scores(const float* q, const float* panel, int64_t elements, float* scores) {
  TileSums<Element, kHeight, kWidth> sums;
  constexpr int kChains = TileSums<Element, kHeight, kWidth>::kChains;
  int64_t idx = 0;
  for (; idx + kChains <= elements; idx += kChains)
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
      sums.Add(chain, q + (idx + chain) * kHeight, 1, panel + (idx + chain) * kColumns);
  for (; kChains > 1 && idx < elements; ++idx) sums.Add(0, q + idx * kHeight, 1, panel + idx * kColumns);
#pragma GCC unroll 16
  for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
    for (int vector = 0; vector < kWidth; ++vector)
      hn::Store(sums.Total(row, vector), DFloat(), scores + row * kBlockKeys + vector * kLanes);
}

// sums = sums * correction + weights . v for one tile of rows and kWidth vectors of features.
template <class Element, int kHeight, int kWidth>
HWY_NOINLINE void AddValues(const float* weights, const float* values, int64_t elements,
                            const float* corrections, float* sums, int64_t value_stride) {
  const DFloat d;
  constexpr int64_t kPanel = kWidth * kLanes;
  TileSums<Element, kHeight, kWidth> added;
  constexpr int kChains = TileSums<Element, kHeight, kWidth>::kChains;
  int64_t idx = 0;
  for (; idx + kChains <= elements; idx += kChains)
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
      added.Add(chain, weights + idx + chain, kBlockKeys, values + (idx + chain) * kPanel);
  for (; kChains > 1 && idx < elements; ++idx) added.Add(0, weights + idx, kBlockKeys, values + idx * kPanel);
#pragma GCC unroll 16
  for (int row = 0; row < kHeight; ++row) {
    const VFloat correction = hn::Set(d, corrections[row]);
#pragma GCC unroll 16
    for (int vector = 0; vector < kWidth; ++vector) {
      float* at = sums + row * value_stride + vector * kLanes;
      hn::Store(hn::MulAdd(hn::Load(d, at), correction, added.Total(row, vector)), d, at);
    }
  }
}

template <class Element, int kHeight>
void ScoreBlock(const Attention& args, const Rows& rows, int64_t skipped, int64_t keys, const float* block,
                float* scores) {
  const int64_t elements = ElementsOf<Element>(args.width);
  block += skipped * elements;
  for (int64_t key = 0; key < keys; key += kColumns) {
    const bool is_narrow = keys - key <= kLanes;
    for (int64_t tile = 0; tile < rows.tiles; ++tile)
      (is_narrow ? Scores<Element, kHeight, 1>
                 : Scores<Element, kHeight, kVectors>)(rows.q + tile * elements * kHeight,
                                                       block + key * elements, elements,
                                                       scores + tile * kHeight * kBlockKeys + key);
  }
}

template <class Element, int kHeight>
void ValueBlock(const Attention& args, const Rows& rows, int64_t skipped, int64_t keys, const float* block,
                const Work& work) {
  const int64_t value_stride = Padded(args.value_width);
  const float* values = block + kBlockKeys * ElementsOf<Element>(args.width);
  for (int64_t column = 0; column < value_stride;) {
    const int64_t width = PanelWidth(column, value_stride);
    const float* panel = values + column * kBlockElements<Element> + skipped / Element::kNumbers * width;
    for (int64_t tile = 0; tile < rows.tiles; ++tile)
      (width < kColumns
           ? AddValues<Element, kHeight, 1>
           : AddValues<Element, kHeight, kVectors>)(work.scores + tile * kHeight * kBlockKeys, panel,
                                                    ElementsOf<Element>(keys),
                                                    work.corrections + tile * kHeight,
                                                    rows.sums + tile * kHeight * value_stride + column,
                                                    value_stride);
    column += width;
  }
}

// Calls body.operator()<height>().
template <typename Body>
HWY_INLINE void WithHeight(int height, const Body& body) {
  switch (height) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 4:
      return body.template operator()<4>();
    case 6:
      return body.template operator()<6>();
    default:
      if constexpr (kMaxHeight == 12) {
        if (height == 8) return body.template operator()<8>();
        return body.template operator()<12>();
      }
  }
}

// Caps, biases and hides the scores of one row against a block of keys.
void AdjustRow(const Attention& args, int64_t batch, int64_t query, int64_t head, int64_t first_key,
               int64_t count, float* scores) {
  const DFloat d;
  if (args.softcap > 0)
    for (int64_t key = 0; key < count; key += kLanes) {
      VFloat score = hn::Mul(hn::Load(d, scores + key), hn::Set(d, 1.0f / args.softcap));
      hn::Store(hn::Mul(Tanh(d, score), hn::Set(d, args.softcap)), d, scores + key);
    }
  if (args.alibi_slopes) {
    const int64_t distance = first_key - (args.keys - args.queries + query);
    for (int64_t key = 0; key < count; ++key)
      scores[key] += args.alibi_slopes[head] * static_cast<float>(distance + key);
  }
  if (args.bias) {
    const float* bias = args.bias + batch * args.bias_strides[0] + head * args.bias_strides[1] +
                        query * args.bias_strides[2] + first_key;
    for (int64_t key = 0; key < count; ++key) scores[key] += bias[key];
  }
  if (args.key_mask)
    for (int64_t key = 0; key < count; ++key)
      if (!args.key_mask[batch * args.keys + first_key + key]) scores[key] = kMinusInfinity;
  const Visible visible = VisibleTo(args, query);
  auto hide = [&](int64_t from, int64_t to) {
    for (int64_t key = HWY_MAX(from - first_key, int64_t{0}); key < HWY_MIN(to - first_key, count); ++key)
      scores[key] = kMinusInfinity;
  };
  hide(visible.prefix, visible.first);
  hide(HWY_MAX(visible.prefix, visible.last), args.keys);
}

// Turns scores into elements of weights relative to `reference`, and returns the totals of these.
template <class Element>
HWY_INLINE VFloat ToWeights(float* scores, int64_t count, VFloat reference) {
  const DFloat d;
  VFloat total = hn::Zero(d);
  if constexpr (Element::kNumbers == 1) {
    for (int64_t key = 0; key < count; key += kLanes) {
      const VFloat weight = Weight(hn::Load(d, scores + key), reference);
      total = hn::Add(total, weight);
      hn::Store(weight, d, scores + key);
    }
  } else {
    const VFloat log2e = hn::Set(d, kLog2e), ones = Element::Of(hn::Set(d, 1.0f), hn::Set(d, 1.0f));
    for (int64_t key = 0; key < count; key += 2 * kLanes) {
      const VFloat weights = Element::OfNeighbours(
          Element::Exp2(hn::MulSub(hn::Load(d, scores + key), log2e, reference)),
          Element::Exp2(hn::MulSub(hn::Load(d, scores + key + kLanes), log2e, reference)));
      total = Element::MulAdd(weights, ones, total);
      hn::Store(weights, d, scores + key / 2);
    }
  }
  return total;
}

// Turns scores of all rows into weights relative to the largest of each so far, as elements.
template <class Element>
void SoftmaxRows(const Rows& rows, int64_t count, const Work& work) {
  const DFloat d;
  const int64_t lines = rows.tiles * rows.height;
  for (int64_t line = 0; line < lines; ++line) {
    const float* scores = work.scores + line * kBlockKeys;
    VFloat maximum = hn::Load(d, scores), other = maximum;
    int64_t key = kLanes;
    for (; key + kLanes < count; key += 2 * kLanes) {
      maximum = hn::Max(maximum, hn::Load(d, scores + key));
      other = hn::Max(other, hn::Load(d, scores + key + kLanes));
    }
    if (key < count) maximum = hn::Max(maximum, hn::Load(d, scores + key));
    work.references[line] = hn::GetLane(hn::MaxOfLanes(d, hn::Max(maximum, other)));
  }
  for (int64_t line = 0; line < lines; line += kLanes) {
    const VFloat before = hn::Load(d, rows.largest + line);
    const VFloat now = hn::Max(before, hn::Mul(hn::Load(d, work.references + line), hn::Set(d, kLog2e)));
    // Nothing seen yet: any finite number makes the weights 2^(-inf - 0) = 0.
    const VFloat reference = hn::IfThenZeroElse(hn::Eq(now, hn::Set(d, kMinusInfinity)), now);
    hn::Store(Exp2(hn::Sub(before, reference)), d, work.corrections + line);
    hn::Store(reference, d, work.references + line);
    hn::Store(now, d, rows.largest + line);
  }
  for (int64_t line = 0; line < lines; ++line) {
    const VFloat total =
        ToWeights<Element>(work.scores + line * kBlockKeys, count, hn::Set(d, work.references[line]));
    float* totals = rows.totals + line * kLanes;
    hn::Store(hn::MulAdd(hn::Load(d, totals), hn::Set(d, work.corrections[line]), total), d, totals);
  }
}

HWY_INLINE const float* QueryOf(const Attention& args, int64_t batch, int64_t group, int64_t row) {
  const int64_t repeat = args.heads / args.groups;
  return QueryAt(args, batch, row / repeat, group * repeat + row % repeat);
}

void PrefetchQueries(const Attention& args, int64_t batch, int64_t group, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) PrefetchRow(QueryOf(args, batch, group, row), args.width);
}

// `scaled`: room for the elements of a tile's queries, each in whole vectors.
template <class Element>
void StartRows(const Attention& args, int64_t batch, int64_t group, const Rows& rows, float* scaled) {
  const DFloat d;
  const int64_t padded = rows.tiles * rows.height, sums = padded * Padded(args.value_width);
  for (int64_t idx = 0; idx < sums; idx += kLanes) hn::Store(hn::Zero(d), d, rows.sums + idx);
  for (int64_t idx = 0; idx < padded * kLanes; idx += kLanes) hn::Store(hn::Zero(d), d, rows.totals + idx);
  for (int64_t line = 0; line < kPaddedRows; line += kLanes)
    hn::Store(hn::Set(d, kMinusInfinity), d, rows.largest + line);
  const VFloat scale = hn::Set(d, args.scale);
  const int64_t elements = ElementsOf<Element>(args.width), stride = Padded(elements);
  for (int64_t tile = 0; tile < rows.tiles; ++tile) {
    for (int64_t line = 0; line < rows.height; ++line) {
      const int64_t row = rows.first + HWY_MIN(tile * rows.height + line, rows.count - 1);
      const KvRow<float> q{QueryOf(args, batch, group, row), nullptr};
      StoreElements<Element>(args.width, scaled + line * stride, [&](int64_t idx) VLM_ATTR_OF_PAIRS {
        return hn::Mul(LoadUpTo(q, idx, args.width), scale);
      });
    }
    Transpose(scaled, stride, rows.height, elements, rows.q + tile * elements * rows.height, rows.height);
  }
}

// Adds the block of `keys` keys from `first_key` on to the rows.
template <class Element>
void PassBlock(const Attention& args, int64_t batch, int64_t group, const Rows& rows, int64_t first_key,
               int64_t keys, const float* block, const Work& work) {
  const int64_t repeat = args.heads / args.groups;
  const int64_t first_query = rows.first / repeat, last_query = (rows.first + rows.count - 1) / repeat;
  const Visible some = VisibleToSome(args, first_query, last_query);
  // What lies before the first key that anybody sees, but for a part of a panel, or behind the last is not
  // even multiplied.
  keys = HWY_MIN(keys, HWY_MAX(some.last, some.prefix) - first_key);
  const int64_t hidden = first_key < some.prefix ? 0 : HWY_MAX(some.first - first_key, int64_t{0});
  if (keys <= hidden) return;
  const int64_t skipped = hidden / kColumns * kColumns;
  first_key += skipped, keys -= skipped;
  const bool is_adjusted = IsAdjusted(args) ||
                           !VisibleTo(args, first_query).SeesAll(first_key, first_key + keys) ||
                           !VisibleTo(args, last_query).SeesAll(first_key, first_key + keys);
  WithHeight(rows.height, [&]<int kHeight>() {
    ScoreBlock<Element, kHeight>(args, rows, skipped, keys, block, work.scores);
  });
  for (int64_t line = 0; line < rows.tiles * rows.height; ++line) {
    float* scores = work.scores + line * kBlockKeys;
    const int64_t row = rows.first + HWY_MIN(line, rows.count - 1);
    if (is_adjusted)
      AdjustRow(args, batch, row / repeat, group * repeat + row % repeat, first_key, keys, scores);
    for (int64_t key = keys; key % (kLanes * Element::kNumbers) != 0; ++key) scores[key] = kMinusInfinity;
  }
  SoftmaxRows<Element>(rows, keys, work);
  WithHeight(rows.height,
             [&]<int kHeight>() { ValueBlock<Element, kHeight>(args, rows, skipped, keys, block, work); });
}

int64_t KeyBlocks(const Attention& args) {
  return (args.keys + kBlockKeys - 1) / kBlockKeys;
}

// A task takes rows of one group of heads, and a part of the keys.
struct Plan {
  int64_t group_rows;   // of all tasks of a group
  int64_t task_rows;    // of a task, a multiple of kBlockRows
  int64_t row_tasks;    // of a group
  int64_t parts;        // of the keys
  int64_t task_floats;  // of all its Rows
  int64_t together;     // blocks of keys that are packed at once
};

template <class Element>
Plan MakePlan(const Attention& args) {
  Plan plan{};
  plan.group_rows = args.heads / args.groups * args.queries;
  const int64_t block_floats = BlockFloats<Element>(args), all_blocks = KeyBlocks(args);
  const bool is_at_once = all_blocks * block_floats <= kAllPackedFloats;
  plan.together = is_at_once ? all_blocks : HWY_MAX(int64_t{1}, kPackedFloats / block_floats);
  // Rows and their sums that wait for further keys stay in the second-level cache; packing keys costs about
  // as much as passing 10 rows.
  constexpr int64_t kStateFloats = 96 << 10;
  const int64_t fitting = is_at_once ? plan.group_rows : kStateFloats / (args.width + args.value_width);
  // At least four tasks a thread, so that none waits long for the last.
  const int64_t shared = plan.group_rows * args.groups * args.batch / (4 * num_threads());
  const int64_t wanted = HWY_MAX(4 * kBlockRows, HWY_MIN(fitting, shared));
  const int64_t blocks = (plan.group_rows + kBlockRows - 1) / kBlockRows;
  plan.row_tasks = (blocks * kBlockRows + wanted - 1) / wanted;
  plan.task_rows = (blocks + plan.row_tasks - 1) / plan.row_tasks * kBlockRows;
  plan.row_tasks = (plan.group_rows + plan.task_rows - 1) / plan.task_rows;
  plan.task_floats = plan.task_rows / kBlockRows * ((RowsFloats(args) + 15) / 16 * 16);
  // Few tasks and many keys: threads share the keys.
  const int64_t tasks = args.batch * args.groups * plan.row_tasks, threads = 2 * num_threads();
  constexpr int64_t kLeastKeys = 256 * Element::kNumbers;  // of a part
  plan.parts = tasks >= threads
                   ? 1
                   : HWY_MAX(int64_t{1}, HWY_MIN((threads + tasks - 1) / tasks, args.keys / kLeastKeys));
  return plan;
}

template <class Element>
void AttendIn(const Attention& args) {
  const Plan plan = MakePlan<Element>(args);
  const int64_t pairs = args.batch * args.groups, tasks = pairs * plan.row_tasks;
  const int64_t key_blocks = KeyBlocks(args), together = plan.together;
  const int64_t repeat = args.heads / args.groups, value_stride = Padded(args.value_width);
  const int64_t rows_floats = plan.task_floats / (plan.task_rows / kBlockRows);
  const int64_t rows_room =
      kBlockKeys * Padded(ElementsOf<Element>(args.width));  // keys or a tile of queries
  const int64_t work_floats = kBlockRows * kBlockKeys + 2 * kPaddedRows + rows_room;
  const int64_t block_floats = BlockFloats<Element>(args);
  static thread_local Scratch states_memory;
  float* states = plan.parts > 1 ? states_memory.get<float>(tasks * plan.parts * plan.task_floats) : nullptr;

  // Calls body(rows) for the rows of a task, whose memory is `stride` apart.
  auto for_rows = [&](int64_t task, float* memory, int64_t stride, const auto& body) {
    const int64_t first = task / pairs * plan.task_rows;
    const int64_t last = HWY_MIN(first + plan.task_rows, plan.group_rows);
    for (int64_t row = first; row < last; row += kBlockRows, memory += stride)
      body(RowsIn(args, row, last, memory));
  };
  auto finish = [&](int64_t batch, int64_t group, const Rows& rows) {
    for (int64_t line = 0; line < rows.count; ++line) {
      const int64_t row = rows.first + line;
      auto state = [&](int64_t part) {
        const int64_t at = part * plan.task_floats;
        const float total =
            hn::GetLane(hn::SumOfLanes(DFloat(), hn::Load(DFloat(), rows.totals + at + line * kLanes)));
        return RowState{rows.sums + at + line * value_stride, rows.largest[at + line], total};
      };
      FinishRow(plan.parts, state, OutputAt(args, batch, row / repeat, group * repeat + row % repeat),
                args.value_width, args.value_width, 0);
    }
  };

  const int64_t operations =
      2 * args.batch * args.heads * args.queries * args.keys * (args.width + args.value_width);
  for_each_balanced(tasks * plan.parts, operations, [&](int64_t idx) {
    // Later rows of causal attention see more keys: the long tasks go first.
    const int64_t task = tasks - 1 - idx / plan.parts, part = idx % plan.parts;
    const int64_t batch = task % pairs / args.groups, group = task % args.groups;
    static thread_local Scratch scratch;
    const int64_t first_row = task / pairs * plan.task_rows;
    const int64_t last_row = HWY_MIN(first_row + plan.task_rows, plan.group_rows) - 1;
    const Visible some = VisibleToSome(args, first_row / repeat, last_row / repeat);
    const int64_t last_key = HWY_MIN(args.keys, HWY_MAX(some.last, some.prefix));
    auto is_seen = [&](int64_t key_block) {
      const int64_t key = key_block * kBlockKeys;
      return (key < some.last && key + kBlockKeys > some.first) || key < some.prefix;
    };
    int64_t first_block = key_blocks * part / plan.parts, last_block = key_blocks * (part + 1) / plan.parts;
    while (first_block + 1 < last_block && !is_seen(first_block)) ++first_block;
    while (first_block + 1 < last_block && !is_seen(last_block - 1)) --last_block;
    const bool is_at_once = last_block - first_block <= together;

    const int64_t own_floats = states ? 0 : is_at_once ? rows_floats : plan.task_floats;
    float* blocks = scratch.get<float>(together * block_floats + own_floats + work_floats + 64);
    float* own = blocks + together * block_floats;
    float* memory = states ? states + (task * plan.parts + part) * plan.task_floats : own;
    Work work{};
    work.scores = own + own_floats;
    work.references = work.scores + kBlockRows * kBlockKeys;
    work.corrections = work.references + kPaddedRows;
    float* widened = work.corrections + kPaddedRows;

    PrefetchQueries(args, batch, group, first_row, HWY_MIN(first_row + kBlockRows, last_row + 1));
    for (int64_t from = first_block; from < last_block; from += together) {
      const int64_t to = HWY_MIN(from + together, last_block);
      for (int64_t key_block = from; key_block < to; ++key_block)
        if (is_seen(key_block))
          PackBlock<Element>(args, batch, group, key_block * kBlockKeys,
                             HWY_MIN(kBlockKeys, last_key - key_block * kBlockKeys), widened,
                             blocks + (key_block - from) * block_floats);
      for_rows(task, memory, !states && is_at_once ? 0 : rows_floats, [&](const Rows& rows) {
        if (from == first_block) {
          StartRows<Element>(args, batch, group, rows, widened);
          // Arrive while these rows are multiplied.
          const int64_t next = rows.first + rows.count;
          PrefetchQueries(args, batch, group, next, HWY_MIN(next + kBlockRows, last_row + 1));
        }
        for (int64_t key_block = from; key_block < to; ++key_block)
          if (is_seen(key_block))
            PassBlock<Element>(args, batch, group, rows, key_block * kBlockKeys,
                               HWY_MIN(kBlockKeys, last_key - key_block * kBlockKeys),
                               blocks + (key_block - from) * block_floats, work);
        if (!states && to == last_block) finish(batch, group, rows);
      });
    }
  });
  if (states)
    for_each_balanced(tasks, 4 * tasks * plan.parts * plan.task_floats, [&](int64_t task) {
      for_rows(task, states + task * plan.parts * plan.task_floats, rows_floats,
               [&](const Rows& rows) { finish(task % pairs / args.groups, task % args.groups, rows); });
    });
}

void AttendMany(const Attention& args) {
#if VLM_HAS_PAIRS
  if (args.may_round && has_pairs()) return AttendIn<Pair>(args);
#endif
  AttendIn<Single>(args);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(AttendMany);

void attention_many_rows(const Attention& args) {
  HWY_DYNAMIC_DISPATCH(AttendMany)(args);
}

bool is_of_few_rows(const Attention& args) {
  return args.queries <= kMostQueriesOfFew && args.heads / args.groups * args.queries <= kMostRowsOfFew &&
         kv_row_width(args.kv_type, args.width) >= kLeastWidthOfFew &&
         kv_row_width(args.kv_type, args.value_width) >= kLeastWidthOfFew;
}

void attention(const Attention& args) {
  if (args.batch <= 0 || args.queries <= 0 || args.heads <= 0 || args.value_width <= 0) return;
  if (args.keys <= 0) {
    for (int64_t idx = 0; idx < args.batch * args.queries * args.heads * args.value_width; ++idx)
      args.y[idx] = 0.0f;
    return;
  }
  (is_of_few_rows(args) ? attention_few_rows : attention_many_rows)(args);
}

}  // namespace vlm::kernels
#endif
