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

HWY_BEFORE_NAMESPACE();
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

template <int kRows, typename T>
void AttendKeys(const Attention& args, int64_t batch, int64_t group, const Set* sets, int64_t num_sets,
                int64_t first_key, int64_t last_key) {
  const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));
  constexpr int64_t kKeys = HWY_MAX(1, kLanes / kRows);
  const Visible some = VisibleToSome(args, 0, args.queries - 1);
  const bool is_adjusted = IsAdjusted(args) || args.queries > 1 || args.window > 0;
  for (int64_t key = first_key; key < last_key; key += kBlockKeys) {
    const int64_t count = HWY_MIN(kBlockKeys, last_key - key);
    if (key + count <= some.first && key >= some.prefix) continue;
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      const Set& set = sets[idx];
      ScoreKeys<kRows>(set, k, keys, key, count, idx == 0 ? &v : nullptr, values.width, args.keys);
      if (is_adjusted) AdjustScores(args, batch, group, set, kRows, key, count);
      const int64_t padded = (count + kKeys - 1) / kKeys * kKeys;
      for (int64_t at = count * kRows; at < padded * kRows; ++at) set.scores[at] = kMinusInfinity;
      Softmax<kRows>(set, padded);
    }
    for (int64_t idx = 0; idx < num_sets; ++idx)
      AddValues<kRows>(sets[idx], v, values, key, count, idx == 0 ? &k : nullptr, keys.width, args.keys);
  }
}

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
    float* work = scratch.get<float>(num_sets * work_floats);
    Set sets[kMostRowsOfFew];
    for (int64_t number = 0; number < num_sets; ++number) {
      sets[number] = set_at(idx, number, work + number * work_floats);
      StartSet(args, batch, group, sets[number], rows, keys, values);
    }
    const int64_t first_key = part * kPartKeys;
    const int64_t last_key = parts == 1 ? args.keys : HWY_MIN(args.keys, first_key + kPartKeys);
    WithRows(rows, [&]<int kRows>() {
      WithKvType(args.kv_type, [&]<typename T>() {
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
