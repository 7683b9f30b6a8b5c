// Attention of few queries, as in decoding: keys and values are read as they lie, once for all heads of a
// group. What a query computes does not depend on which others come with it, to the last bit: every sum has
// an order of its own, and what a query does not see adds zeros.
#include "kernels/attention.h"

#include <atomic>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_few.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/attention_few-inl.h"
#include "kernels/attention_pairs-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// Rows of a group come in sets of 1, 2, 4 or 8; the last one is filled up with copies. Scores of a set are
// [keys, rows]: a vector holds every row of several keys, and lane l belongs to row l % rows.
constexpr int kMostRows = HWY_MIN(8, kLanes);
constexpr int64_t kBlockKeys = 32;
constexpr int64_t kLeastPartKeys = 512;  // of a task, where threads share the keys
constexpr int64_t kLine = 64;            // bytes
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
    if constexpr (kLanes == 4) {
      hn::StoreU(four, d, to + idx);
    } else {
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

// Turns the scores of a block into weights.
template <int kRows>
void Weigh(const Attention& args, int64_t batch, int64_t group, const Set& set, int64_t first_key,
           int64_t count) {
  constexpr int64_t kKeys = HWY_MAX(1, kLanes / kRows);
  AdjustScores(args, batch, group, set, kRows, first_key, count, kRows, 1);
  const int64_t padded = (count + kKeys - 1) / kKeys * kKeys;
  for (int64_t at = count * kRows; at < padded * kRows; ++at) set.scores[at] = kMinusInfinity;
  Softmax<kRows>(set, padded);
}

template <int kRows, typename T>
void AttendKeys(const Attention& args, int64_t batch, int64_t group, const Set* sets, int64_t num_sets,
                int64_t first_key, int64_t last_key) {
  const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
  const Cover keys(kv_row_width(args.kv_type, args.width)),
      values(kv_row_width(args.kv_type, args.value_width));
  ForBlocks<kBlockKeys>(args, first_key, last_key, [&](int64_t key, int64_t count) {
    for (int64_t idx = 0; idx < num_sets; ++idx) {
      ScoreKeys<kRows>(sets[idx], k, keys, key, count, idx == 0 ? &v : nullptr, values.width, args.keys);
      Weigh<kRows>(args, batch, group, sets[idx], key, count);
    }
    for (int64_t idx = 0; idx < num_sets; ++idx)
      AddValues<kRows>(sets[idx], v, values, key, count, idx == 0 ? &k : nullptr, keys.width, args.keys);
  });
  for (int64_t idx = 0; idx < num_sets; ++idx)
    for (int row = 0; row < kRows; ++row) {
      float total = 0.0f;
      for (int at = row; at < kRows * kLanes; at += kRows) total += sets[idx].totals[at];
      sets[idx].totals[row] = total;
    }
}

bool TakesPairs(int64_t heads, int64_t groups, bool may_round) {
#if VLM_HAS_PAIRS
  return may_round && heads / groups > kPairRows / 2 && has_pairs();
#else
  (void)heads, (void)groups, (void)may_round;
  return false;
#endif
}

// Calls body.operator()<rows>().
template <typename Body>
HWY_INLINE void WithRows(int rows, const Body& body) {
  if constexpr (kMostRows >= 8)
    if (rows == 8) return body.template operator()<8>();
  if constexpr (kMostRows >= 4) {
    if (rows == 4) return body.template operator()<4>();
    if (rows == 2) return body.template operator()<2>();
  }
  body.template operator()<1>();
}

// How one call is shared out: a task takes one group's rows and a part of the keys.
struct Plan {
  int64_t group_rows, num_sets;
  int rows;  // of a set
  Cover keys, values;
  bool takes_pairs;
  int64_t block_keys, part_keys, parts;
  int64_t tasks() const { return groups * parts; }
  int64_t groups;                   // of all batches
  int64_t state_floats;             // of a set: what was found
  int64_t work_floats;              // of a set: what is needed to find it
  int64_t first_task, first_state;  // among those of all calls

  explicit Plan(const Attention& args)
      : group_rows(args.heads / args.groups * args.queries),
        rows(RowsOfSet(group_rows)),
        keys(kv_row_width(args.kv_type, args.width)),
        values(kv_row_width(args.kv_type, args.value_width)),
        takes_pairs((args.kv_type == KvType::bf16 || args.kv_type == KvType::int8) &&
                    TakesPairs(args.heads, args.groups, args.may_round)),
        groups(args.batch * args.groups) {
    num_sets = (group_rows + rows - 1) / rows;
    block_keys = kBlockKeys;
#if VLM_HAS_PAIRS
    if (takes_pairs) block_keys = kPairKeys;
#endif
    // Few groups and many keys: threads share the keys, in parts that begin where they do for any number of
    // keys and whatever other calls there are.
    const int64_t threads = num_threads();
    part_keys = args.groups >= threads ? 2 * kLeastPartKeys : kLeastPartKeys;
    if (args.groups >= 4 * threads) part_keys = args.keys;
    parts = (args.keys + part_keys - 1) / part_keys;
    state_floats = rows * values.floats() + (rows + 1) * kLanes;
    work_floats = rows * (keys.floats() + block_keys) + kLanes;
  }
  // Without `work`, what was found can be read, and nothing added.
  Set SetAt(int64_t number, float* state, float* work) const {
    Set set{};
    set.first = number * rows;
    set.count = HWY_MIN(int64_t{rows}, group_rows - set.first);
    set.sums = state + number * state_floats;
    set.totals = set.sums + rows * values.floats();
    set.largest = set.totals + rows * kLanes;
    if (!work) return set;
    set.q = work + number * work_floats;
    set.scores = set.q + rows * keys.floats();
    set.corrections = set.scores + block_keys * rows;
    return set;
  }
};

void AttendPart(const Attention& args, const Plan& plan, int64_t group, int64_t part, float* state,
                float* work) {
  const int64_t batch = group / args.groups;
  group %= args.groups;
  Set sets[kMostRowsOfFew];
  for (int64_t number = 0; number < plan.num_sets; ++number) {
    sets[number] = plan.SetAt(number, state, work);
    StartSet(args, batch, group, sets[number], plan.rows, plan.keys, plan.values);
  }
  const int64_t first_key = part * plan.part_keys;
  const int64_t last_key = HWY_MIN(args.keys, first_key + plan.part_keys);
  WithKvType(args.kv_type, [&]<typename T>() {
#if VLM_HAS_PAIRS
    if constexpr (std::is_same_v<T, hwy::bfloat16_t> || std::is_same_v<T, int8_t>)
      if (plan.takes_pairs)
        return AttendPairs<T>(args, batch, group, sets, plan.num_sets, first_key, last_key,
                              work + plan.num_sets * plan.work_floats);
#endif
    WithRows(plan.rows, [&]<int kRows>() {
      AttendKeys<kRows, T>(args, batch, group, sets, plan.num_sets, first_key, last_key);
    });
  });
}

// `states`: of the group's parts.
void FinishGroup(const Attention& args, const Plan& plan, int64_t group, float* states) {
  const int64_t batch = group / args.groups, repeat = args.heads / args.groups;
  group %= args.groups;
  for (int64_t row = 0; row < plan.group_rows; ++row) {
    const int64_t line = row % plan.rows;
    auto state = [&](int64_t part) {
      const Set set = plan.SetAt(row / plan.rows, states + part * plan.num_sets * plan.state_floats, nullptr);
      return RowState{set.sums + line * plan.values.floats(), set.largest[line], set.totals[line]};
    };
    // Where the last vector of values overlaps, its features stand behind the others.
    FinishRow(plan.parts, state, OutputAt(args, batch, row / repeat, group * repeat + row % repeat),
              args.value_width, HWY_MIN(args.value_width, plan.values.floats() - kLanes),
              plan.values.floats() - plan.values.width);
  }
}

void AttendFew(const Attention* calls, int64_t count) {
  static thread_local std::vector<Plan> plans;
  plans.clear();
  int64_t tasks = 0, states_floats = 0, task_floats = 0, operations = 0;
  for (int64_t call = 0; call < count; ++call) {
    const Attention& args = calls[call];
    Plan plan(args);
    plan.first_task = tasks, plan.first_state = states_floats;
    const int64_t floats = plan.num_sets * plan.state_floats;
    tasks += plan.tasks();
    states_floats += plan.parts > 1 ? plan.tasks() * floats : 0;
    task_floats = HWY_MAX(task_floats, floats + plan.num_sets * plan.work_floats);
    operations += 2 * args.batch * args.heads * args.queries * args.keys * (args.width + args.value_width);
    plans.push_back(plan);
  }
#if VLM_HAS_PAIRS
  task_floats += kPairWork;
#endif
  static thread_local Scratch states_memory, left_memory;
  float* states = states_memory.get<float>(states_floats);
  int32_t* left = left_memory.get<int32_t>(tasks);  // parts of each group, at its first task
  for (const Plan& plan : plans)
    for (int64_t task = 0; task < plan.tasks(); task += plan.parts)
      left[plan.first_task + task] = static_cast<int32_t>(plan.parts);

  // In runs: what a part fetches in advance at its end is the beginning of the same thread's next one.
  const Plan* all = plans.data();
  for_each_in_runs(tasks, operations, [&](int64_t idx) {
    int64_t call = count - 1;
    while (all[call].first_task > idx) --call;
    const Plan& plan = all[call];
    const int64_t task = idx - plan.first_task, group = task / plan.parts, part = task % plan.parts;
    static thread_local Scratch scratch;
    // What was found lies where it stays in the first-level cache until the part is done.
    float* found = scratch.get<float>(task_floats);
    const int64_t floats = plan.num_sets * plan.state_floats;
    AttendPart(calls[call], plan, group, part, found, found + floats);
    if (plan.parts == 1) return FinishGroup(calls[call], plan, group, found);
    float* kept = states + plan.first_state + group * plan.parts * floats;
    std::memcpy(kept + part * floats, found, static_cast<size_t>(floats) * sizeof(float));
    std::atomic_ref<int32_t> parts_left(left[plan.first_task + group * plan.parts]);
    if (parts_left.fetch_sub(1) == 1) FinishGroup(calls[call], plan, group, kept);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(AttendFew);
HWY_EXPORT(TakesPairs);

bool attends_in_pairs(int64_t heads, int64_t groups, bool may_round) {
  return HWY_DYNAMIC_DISPATCH(TakesPairs)(heads, groups, may_round);
}

void attention_few_rows(const Attention& args) {
  attentions_of_few_rows(&args, 1);
}
void attentions_of_few_rows(const Attention* calls, int64_t count) {
  HWY_DYNAMIC_DISPATCH(AttendFew)(calls, count);
}

}  // namespace vlm::kernels
#endif
