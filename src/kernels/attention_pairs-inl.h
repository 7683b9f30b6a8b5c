// Attention of few queries in products of bfloat16 pairs: 8 rows against a block of keys. Included once for
// each instruction set.
#if defined(VLM_KERNELS_ATTENTION_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_ATTENTION_PAIRS_INL_H_
#undef VLM_KERNELS_ATTENTION_PAIRS_INL_H_
#else
#define VLM_KERNELS_ATTENTION_PAIRS_INL_H_
#endif

#include <type_traits>

#include "hwy/highway.h"
#include "kernels/attention_few-inl.h"

#if VLM_HAS_PAIRS

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

constexpr int kPairRows = 8;  // of a set
// Of a block: what comes between scores and values is paid for once in so many keys.
constexpr int64_t kPairKeys = 64;
static_assert(kLanes == 16 && kKeyTile == kLanes && kValueTile == kPairKeys);

// Keys and values are tiles of bfloat16, or rows of int8: these are multiplied as they are, which bfloat16
// holds, and their scales go into scores and weights.
template <typename T>
constexpr bool kIsTiled = std::is_same_v<T, hwy::bfloat16_t>;

// Where memory answers slowest: at the first lines of a block that is read from end to end, and at each row
// of others.
constexpr int64_t kLineBytes = 64;
template <typename T>
HWY_INLINE void FetchBlock(const KvRow<T>& first) {
  for (int64_t line = 0; line < 8; ++line)
    __builtin_prefetch(reinterpret_cast<const char*>(first.values) + line * kLineBytes, 0, 3);
}
template <typename T>
HWY_INLINE void FetchRow(const KvRow<T>& row, int64_t width) {
  const int64_t bytes = width * static_cast<int64_t>(sizeof(T));
  for (int64_t byte = 0; byte < bytes; byte += kLineBytes)
    __builtin_prefetch(reinterpret_cast<const char*>(row.values) + byte, 0, 3);
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

// Blocks of 128 bits of both: those that `order` names, two of a before two of b.
template <int kOrder>
HWY_INLINE VFloat Blocks(VFloat a, VFloat b) {
  return VFloat{_mm512_shuffle_f32x4(a.raw, b.raw, kOrder)};
}

// Of four vectors: block b of 128 bits of each becomes vector b.
HWY_INLINE void TransposeBlocks(VFloat& a, VFloat& b, VFloat& c, VFloat& d) {
  const VFloat even_ab = Blocks<0x88>(a, b), odd_ab = Blocks<0xdd>(a, b);
  const VFloat even_cd = Blocks<0x88>(c, d), odd_cd = Blocks<0xdd>(c, d);
  a = Blocks<0x88>(even_ab, even_cd);
  b = Blocks<0x88>(odd_ab, odd_cd);
  c = Blocks<0xdd>(even_ab, even_cd);
  d = Blocks<0xdd>(odd_ab, odd_cd);
}

// As Pair::MulAdd() with one element for all lanes: in one instruction, which the compiler does not find.
HWY_INLINE VFloat MulAddOne(const float* element, VFloat b, VFloat sum) {
  asm("vdpbf16ps %[element]%{1to16%}, %[b], %[sum]"
      : [sum] "+v"(sum.raw)
      : [element] "m"(*element), [b] "v"(b.raw));
  return sum;
}

// Two vectors of a row, 32 numbers, of which both kinds have whole groups.
HWY_INLINE VFloat LoadNumbers(const KvRow<int8_t>& row, int64_t vector) {
  const hn::Rebind<int8_t, DFloat> d8;
  return hn::ConvertTo(
      DFloat(), hn::PromoteTo(hn::RebindToSigned<DFloat>(), hn::LoadU(d8, row.values + vector * kLanes)));
}
HWY_INLINE VFloat LoadElements(const KvRow<int8_t>& row, int64_t vector) {
  return Pair::OfNeighbours(LoadNumbers(row, vector), LoadNumbers(row, vector + 1));
}
HWY_INLINE VFloat LoadElements(const KvRow<hwy::bfloat16_t>& row, int64_t vector) {
  return hn::LoadU(DFloat(), reinterpret_cast<const float*>(row.values + vector / 2 * row.stride));
}

// The queries of a set as [elements, kPairRows], in place of its floats.
inline void PairQueries(const Set& set, const Cover& cover) {
  const DFloat d;
  for (int64_t vector = 0; vector < cover.vectors; vector += 2) {
    VFloat rows[2][4];
    for (int row = 0; row < kPairRows; ++row) {
      auto load = [&](int64_t at) HWY_ATTR { return hn::Load(d, set.q + (at * kPairRows + row) * kLanes); };
      rows[row / 4][row % 4] = Pair::OfNeighbours(load(vector), load(vector + 1));
    }
    TransposeInBlocks(rows[0]);
    TransposeInBlocks(rows[1]);
    for (int lane = 0; lane < 4; lane += 2) {
      VFloat lanes[4] = {rows[0][lane], rows[1][lane], rows[0][lane + 1], rows[1][lane + 1]};
      TransposeBlocks(lanes[0], lanes[1], lanes[2], lanes[3]);
      for (int block = 0; block < 4; ++block)
        hn::Store(lanes[block], d, set.q + (vector / 2 * kLanes + 4 * block + lane) * kPairRows);
    }
  }
}

// Of 16 keys from `key` on, the scales of the vectors' group of features.
HWY_INLINE VFloat ScalesOf(const KvGroupRows<int8_t>& rows, int64_t key, int64_t count, int64_t vector) {
  HWY_ALIGN float scales[kLanes];
  const float* at = rows.scales + key * rows.scale_stride + vector * kLanes / kKvGroup;
  for (int64_t idx = 0; idx < kLanes; ++idx) scales[idx] = at[HWY_MIN(idx, count - 1) * rows.scale_stride];
  return hn::Load(DFloat(), scales);
}

// sums[row] += q[row] . the elements of 16 keys that two vectors of the cover hold.
template <typename T>
HWY_INLINE void AddProducts(const float* q, const KvGroupRows<T>& k, int64_t first_key, int64_t keys,
                            int64_t vector, VFloat (&sums)[kPairRows]) {
  const DFloat d;
  VFloat rows[4][4];
  if constexpr (kIsTiled<T>) {
    // Line after line, in the order in which they lie.
    const KvRow<T> first = k[first_key];
    const float* lines = reinterpret_cast<const float*>(first.values + vector / 2 * first.stride);
    asm("" : "+r"(lines));  // or GCC gives each line a pointer of its own and takes them in any order
#pragma GCC unroll 16
    for (int idx = 0; idx < kLanes; ++idx) rows[idx / 4][idx % 4] = hn::LoadU(d, lines + idx * kLanes);
  } else {
    KvRow<T> row = k[first_key];
#pragma GCC unroll 16
    for (int idx = 0; idx < kLanes; ++idx) {
      rows[idx / 4][idx % 4] = LoadElements(row, vector);
      if (HWY_LIKELY(idx + 1 < keys)) row = k.After(row);
    }
  }
#pragma GCC unroll 4
  for (auto& four : rows) TransposeInBlocks(four);
#pragma GCC unroll 4
  for (int lane = 0; lane < 4; ++lane) {
    TransposeBlocks(rows[0][lane], rows[1][lane], rows[2][lane], rows[3][lane]);
#pragma GCC unroll 4
    for (int block = 0; block < 4; ++block)
#pragma GCC unroll 8
      for (int row = 0; row < kPairRows; ++row)
        sums[row] = MulAddOne(q + (4 * block + lane) * kPairRows + row, rows[block][lane], sums[row]);
  }
}

// scores[row, key] of a block; what lies behind `count` in the last vector is unspecified.
template <typename T>
void ScorePairs(const Set& set, const KvGroupRows<T>& k, const Cover& cover, int64_t first_key, int64_t count,
                const KvGroupRows<T>* values, int64_t value_width) {
  const DFloat d;
  if (kIsTiled<T> && values) FetchBlock((*values)[first_key]);
  for (int64_t key = 0; key < count; key += kLanes) {
    const int64_t keys = HWY_MIN(kLanes, count - key);
    if constexpr (!kIsTiled<T>)
      for (int64_t idx = key; values && idx < key + keys; ++idx)
        FetchRow((*values)[first_key + idx], value_width);
    VFloat sums[kPairRows];
#pragma GCC unroll 8
    for (VFloat& sum : sums) sum = hn::Zero(d);
    for (int64_t vector = 0; vector < cover.vectors; vector += 2) {
      const float* q = set.q + vector / 2 * kLanes * kPairRows;
      if constexpr (!kIsTiled<T>) {
        VFloat of_group[kPairRows];
#pragma GCC unroll 8
        for (VFloat& sum : of_group) sum = hn::Zero(d);
        AddProducts(q, k, first_key + key, keys, vector, of_group);
        const VFloat scales = ScalesOf(k, first_key + key, keys, vector);
#pragma GCC unroll 8
        for (int row = 0; row < kPairRows; ++row) sums[row] = hn::MulAdd(of_group[row], scales, sums[row]);
      } else {
        AddProducts(q, k, first_key + key, keys, vector, sums);
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kPairRows; ++row) hn::Store(sums[row], d, set.scores + row * kPairKeys + key);
  }
}

// Lane l: the largest lane of rows[l % kPairRows].
HWY_INLINE VFloat LargestOf(const VFloat (&rows)[2][4]) {
  const DFloat d;
  const hn::RepartitionToWide<DFloat> d64;
  VFloat fours[2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const auto& four = rows[half];
    auto two = [&](VFloat a, VFloat b) HWY_ATTR {
      return hn::BitCast(d64, hn::Max(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
    };
    const auto first = two(four[0], four[1]), second = two(four[2], four[3]);
    fours[half] = hn::Max(hn::BitCast(d, hn::InterleaveLower(d64, first, second)),
                          hn::BitCast(d, hn::InterleaveUpper(d64, first, second)));
  }
  const VFloat both = hn::Max(Blocks<0x88>(fours[0], fours[1]), Blocks<0xdd>(fours[0], fours[1]));
  return hn::Max(Blocks<0x88>(both, both), Blocks<0xdd>(both, both));
}

// Turns the scores of a block, whole vectors of them, into weights relative to the largest so far: floats, or
// elements of two keys in the first half of each row.
template <bool kMakesElements>
HWY_INLINE void SoftmaxPairs(const Set& set, int64_t count) {
  const DFloat d;
  VFloat most[2][4];
#pragma GCC unroll 8
  for (int row = 0; row < kPairRows; ++row) {
    VFloat of_row = hn::Load(d, set.scores + row * kPairKeys);
    for (int64_t key = kLanes; key < count; key += kLanes)
      of_row = hn::Max(of_row, hn::Load(d, set.scores + row * kPairKeys + key));
    most[row / 4][row % 4] = of_row;
  }
  const VFloat before = hn::Load(d, set.largest);
  const VFloat now = hn::Max(before, hn::Mul(LargestOf(most), hn::Set(d, kLog2e)));
  // Nothing seen yet: any finite number makes the weights 2^(-inf - 0) = 0.
  const VFloat reference = hn::IfThenZeroElse(hn::Eq(now, hn::Set(d, kMinusInfinity)), now);
  HWY_ALIGN float references[kLanes];
  hn::Store(reference, d, references);
  hn::Store(now, d, set.largest);
  hn::Store(Exp2(hn::Sub(before, reference)), d, set.corrections);
  for (int row = 0; row < kPairRows; ++row) {
    float* scores = set.scores + row * kPairKeys;
    const VFloat of_row = hn::Set(d, references[row]);
    VFloat total = hn::Mul(hn::Load(d, set.totals + row * kLanes), hn::Set(d, set.corrections[row]));
    for (int64_t key = 0; key < count; key += 2 * kLanes) {
      const VFloat first = Weight(hn::Load(d, scores + key), of_row);
      const VFloat second =
          key + kLanes < count ? Weight(hn::Load(d, scores + key + kLanes), of_row) : hn::Zero(d);
      total = hn::Add(hn::Add(total, first), second);
      if constexpr (kMakesElements) {
        hn::Store(Pair::OfNeighbours(first, second), d, scores + key / 2);
      } else {
        hn::Store(first, d, scores + key);
        hn::Store(second, d, scores + key + kLanes);
      }
    }
    hn::Store(total, d, set.totals + row * kLanes);
  }
}

// Elements of two keys' weights, times the scales of the vectors' group of features.
inline void ScaleWeights(const Set& set, const KvGroupRows<int8_t>& v, int64_t vector, int64_t first_key,
                         int64_t count, float* to) {
  const DFloat d;
  for (int64_t key = 0; key < count; key += 2 * kLanes) {
    const VFloat first = ScalesOf(v, first_key + key, count - key, vector);
    const VFloat second = key + kLanes < count
                              ? ScalesOf(v, first_key + key + kLanes, count - key - kLanes, vector)
                              : hn::Zero(d);
    for (int row = 0; row < kPairRows; ++row) {
      const float* weights = set.scores + row * kPairKeys + key;
      hn::Store(Pair::OfNeighbours(hn::Mul(hn::Load(d, weights), first),
                                   hn::Mul(hn::Load(d, weights + kLanes), second)),
                d, to + row * kPairKeys + key / 2);
    }
  }
}

// The elements of two keys in two vectors of features, in another order, see RestoreOrder(); `odd`: null
// behind the last key.
template <typename T>
HWY_INLINE void LoadTwoKeys(const KvRow<T>& even, const KvRow<T>* odd, int64_t vector, VFloat (&to)[2]) {
  const DFloat d;
  const hn::Repartition<uint16_t, DFloat> d16;
  const auto low = hn::BitCast(d16, LoadElements(even, vector));
  const auto high = odd ? hn::BitCast(d16, LoadElements(*odd, vector)) : hn::Zero(d16);
  to[0] = hn::BitCast(d, hn::InterleaveLower(d16, low, high));
  to[1] = hn::BitCast(d, hn::InterleaveUpper(d16, low, high));
}

// sums = sums * correction + weights . v for two vectors of features. Fetches the keys of the next
// block, up to key `end`.
template <typename T>
void AddPairColumns(const Set& set, const float* weights, const KvGroupRows<T>& v, const Cover& cover,
                    int64_t vector, int64_t first_key, int64_t count, const KvGroupRows<T>* next,
                    int64_t next_width, int64_t end) {
  const DFloat d;
  VFloat added[kPairRows][2];
#pragma GCC unroll 8
  for (auto& row : added)
#pragma GCC unroll 2
    for (VFloat& sum : row) sum = hn::Zero(d);
  auto add = [&](int64_t key, const KvRow<T>& even, const KvRow<T>* odd) VLM_ATTR_OF_PAIRS {
    VFloat loaded[2];
    LoadTwoKeys(even, odd, vector, loaded);
#pragma GCC unroll 8
    for (int row = 0; row < kPairRows; ++row) {
      const VFloat weight = hn::Set(d, weights[row * kPairKeys + key / 2]);
#pragma GCC unroll 2
      for (int idx = 0; idx < 2; ++idx) added[row][idx] = Pair::MulAdd(weight, loaded[idx], added[row][idx]);
    }
  };
  if (kIsTiled<T> && next && first_key + kPairKeys < end) FetchBlock((*next)[first_key + kPairKeys]);
  KvRow<T> even = v[first_key];
  int64_t key = 0;
  for (; key + 2 <= count; key += 2) {
    if constexpr (!kIsTiled<T>) {
      const int64_t ahead = first_key + kPairKeys + key;
      if (next && ahead < end) {
        FetchRow((*next)[ahead], next_width);
        FetchRow((*next)[HWY_MIN(ahead + 1, end - 1)], next_width);
      }
    }
    const KvRow<T> odd = v.After(even);
    add(key, even, &odd);
    even = v.After(odd);
  }
  if (key < count) add(key, even, nullptr);
  StoreAdded<kPairRows, 2>(set, added, cover, vector);
}

// Interleaving two rows leaves features 8 b .. 8 b + 3 in block b of the first of two vectors,
// those that follow in block b of the second.
inline void RestoreOrder(const Set& set, const Cover& cover) {
  const DFloat d;
  for (int64_t idx = 0; idx < kPairRows * cover.floats(); idx += 2 * kLanes) {
    const VFloat low = hn::Load(d, set.sums + idx), high = hn::Load(d, set.sums + idx + kLanes);
    const VFloat first = Blocks<0x44>(low, high), second = Blocks<0xee>(low, high);
    hn::Store(Blocks<0xd8>(first, first), d, set.sums + idx);
    hn::Store(Blocks<0xd8>(second, second), d, set.sums + idx + kLanes);
  }
}

// Floats of working memory beside the sets'.
constexpr int64_t kPairWork = kPairRows * kPairKeys;

template <typename T>
void AttendPairs(const Attention& args, int64_t batch, int64_t group, const Set* sets, int64_t num_sets,
                 int64_t first_key, int64_t last_key, float* work) {
  const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));
  for (int64_t idx = 0; idx < num_sets; ++idx) PairQueries(sets[idx], keys);
  ForBlocks<kPairKeys>(args, first_key, last_key, [&](int64_t key, int64_t count) {
    const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      const Set& set = sets[idx];
      ScorePairs(set, k, keys, key, count, idx == 0 ? &v : nullptr, values.width);
      AdjustScores(args, batch, group, set, kPairRows, key, count, 1, kPairKeys);
      for (int row = 0; row < kPairRows; ++row)
        for (int64_t at = count; at < padded; ++at) set.scores[row * kPairKeys + at] = kMinusInfinity;
      SoftmaxPairs<kIsTiled<T>>(set, padded);
    }
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      const Set& set = sets[idx];
      const KvGroupRows<T>* next = idx == 0 ? &k : nullptr;
      const float* weights = set.scores;
      for (int64_t vector = 0; vector < values.vectors; vector += 2, next = nullptr) {
        if constexpr (!kIsTiled<T>) {
          ScaleWeights(set, v, vector, key, count, work);
          weights = work;
        }
        AddPairColumns(set, weights, v, values, vector, key, count, next, keys.width, args.keys);
      }
    }
  });
  for (int64_t idx = 0; idx < num_sets; ++idx) {
    RestoreOrder(sets[idx], values);
    for (int row = 0; row < kPairRows; ++row) {
      float total = 0.0f;
      for (int lane = 0; lane < kLanes; ++lane) total += sets[idx].totals[row * kLanes + lane];
      sets[idx].totals[row] = total;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
#endif
