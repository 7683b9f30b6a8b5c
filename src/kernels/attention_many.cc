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
constexpr int64_t kBlockRows = 48;   // rows that pass a panel of keys while it lies in the first-level cache
constexpr int64_t kLineFloats = 16;  // of a cache line
// Keys and values of a block: 32 KB at a head width of 64.
template <class Element>
constexpr int64_t kBlockKeys = 64 * Element::kNumbers;
static_assert(kBlockKeys<Single> % kColumns == 0 && kBlockRows % kMaxHeight == 0);

int64_t Padded(int64_t width) {
  return (width + kLanes - 1) / kLanes * kLanes;
}

// Pairs of queries and keys are neighbouring features, those of weights and values neighbouring keys.
template <class Element>
int64_t BlockFloats(const Attention& args) {
  return kBlockKeys<Element> * ElementsOf<Element>(args.width) +
         ElementsOf<Element>(kBlockKeys<Element>) * Padded(args.value_width);
}

// The vector of a row at `idx`, with zeros from `width` on.
template <typename T>
HWY_INLINE VFloat LoadUpTo(const KvRow<T>& row, int64_t idx, int64_t width) {
  const DFloat d;
  if (HWY_LIKELY(idx + kLanes <= width)) return row.Load(d, idx);
  HWY_ALIGN float rest[kLanes] = {};
  const hn::CappedTag<float, 1> d1;
  for (int64_t lane = 0; idx + lane < width; ++lane) rest[lane] = hn::GetLane(row.Load(d1, idx + lane));
  return hn::Load(d, rest);
}

template <class Element, typename T>
HWY_INLINE void StoreRow(const KvRow<T>& row, int64_t width, float* to) {
  StoreElements<Element>(width, to, [&](int64_t idx) VLM_ATTR_OF_PAIRS { return LoadUpTo(row, idx, width); });
}

// Keys as panels [elements of a key, kColumns], then values as [elements of a block, padded value width];
// zero where there is nothing. `rows`: room for the keys' elements, each in whole vectors.
template <class Element>
void PackBlock(const Attention& args, int64_t batch, int64_t group, int64_t first_key, float* rows,
               float* to) {
  const DFloat d;
  const int64_t count = HWY_MIN(kBlockKeys<Element>, args.keys - first_key);
  const int64_t key_elements = ElementsOf<Element>(args.width), value_stride = Padded(args.value_width);
  if (count < kBlockKeys<Element>)
    for (int64_t idx = 0; idx < BlockFloats<Element>(args); ++idx) to[idx] = 0.0f;
  float* values = to + kBlockKeys<Element> * key_elements;
  WithKvType(args.kv_type, [&]<typename T>() {
    const KvGroupRows<T> k(args.k, batch, group), v(args.v, batch, group);
    const float* from = rows;
    int64_t stride = Padded(key_elements);
    if constexpr (sizeof(T) == sizeof(float) && Element::kNumbers == 1) {
      from = k[first_key].values, stride = k.stride;
    } else {
      for (int64_t key = 0; key < count; ++key)
        StoreRow<Element>(k[first_key + key], args.width, rows + key * stride);
    }
    for (int64_t key = 0; key < count; key += kColumns)
      Transpose(from + key * stride, stride, HWY_MIN(kColumns, count - key), key_elements,
                to + key * key_elements, kColumns);
    for (int64_t key = 0; key < count; key += Element::kNumbers, values += value_stride)
      if constexpr (Element::kNumbers == 1) {
        StoreRow<Element>(v[first_key + key], args.value_width, values);
      } else {
        const KvRow<T> row = v[first_key + key], next = v[first_key + HWY_MIN(key + 1, count - 1)];
        for (int64_t idx = 0; idx < args.value_width; idx += kLanes) {
          const VFloat low = LoadUpTo(row, idx, args.value_width);
          const VFloat high = key + 1 < count ? LoadUpTo(next, idx, args.value_width) : hn::Zero(d);
          hn::Store(Element::Of(low, high), d, values + idx);
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
  float* largest;  // [tiles * height]
  float* totals;   // [tiles * height, kLanes], to be added up
  int64_t tiles() const { return (count + height - 1) / height; }
};
int64_t RowsFloats(const Attention& args) {
  return kBlockRows * (args.width + Padded(args.value_width) + 1 + kLanes);
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
  rows.sums = memory;
  rows.totals = rows.sums + kBlockRows * Padded(args.value_width);
  rows.q = rows.totals + kBlockRows * kLanes;
  rows.largest = rows.q + kBlockRows * args.width;
  return rows;
}

// Scores and corrections of the rows that pass: a thread's own.
struct Work {
  float* scores;       // [48, 64]
  float* corrections;  // [48]
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
      hn::Store(sums.Total(row, vector), DFloat(), scores + row * kBlockKeys<Element> + vector * kLanes);
}

// sums = sums * correction + weights . v for one tile of rows and kWidth vectors of features.
template <class Element, int kHeight, int kWidth>
HWY_NOINLINE void AddValues(const float* weights, const float* values, int64_t value_stride, int64_t elements,
                            const float* corrections, float* sums) {
  const DFloat d;
  TileSums<Element, kHeight, kWidth> added;
  constexpr int kChains = TileSums<Element, kHeight, kWidth>::kChains;
  int64_t idx = 0;
  for (; idx + kChains <= elements; idx += kChains)
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
      added.Add(chain, weights + idx + chain, kBlockKeys<Element>, values + (idx + chain) * value_stride);
  for (; kChains > 1 && idx < elements; ++idx)
    added.Add(0, weights + idx, kBlockKeys<Element>, values + idx * value_stride);
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
void ScoreBlock(const Attention& args, const Rows& rows, int64_t keys, const float* block, float* scores) {
  const int64_t elements = ElementsOf<Element>(args.width);
  for (int64_t key = 0; key < keys; key += kColumns) {
    const bool is_narrow = keys - key <= kLanes;
    for (int64_t tile = 0; tile < rows.tiles(); ++tile)
      (is_narrow ? Scores<Element, kHeight, 1>
                 : Scores<Element, kHeight, kVectors>)(rows.q + tile * elements * kHeight,
                                                       block + key * elements, elements,
                                                       scores + tile * kHeight * kBlockKeys<Element> + key);
  }
}

template <class Element, int kHeight>
void ValueBlock(const Attention& args, const Rows& rows, int64_t keys, const float* block, const Work& work) {
  const int64_t value_stride = Padded(args.value_width);
  const float* values = block + kBlockKeys<Element> * ElementsOf<Element>(args.width);
  for (int64_t column = 0; column < value_stride;) {
    const bool is_narrow = value_stride - column < kColumns;
    for (int64_t tile = 0; tile < rows.tiles(); ++tile)
      (is_narrow ? AddValues<Element, kHeight, 1>
                 : AddValues<Element, kHeight, kVectors>)(work.scores + tile * kHeight * kBlockKeys<Element>,
                                                          values + column, value_stride,
                                                          ElementsOf<Element>(keys),
                                                          work.corrections + tile * kHeight,
                                                          rows.sums + tile * kHeight * value_stride + column);
    column += is_narrow ? kLanes : kColumns;
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
  if (!visible.SeesAll(first_key, first_key + count))
    for (int64_t key = 0; key < count; ++key)
      if (!visible.Sees(first_key + key)) scores[key] = kMinusInfinity;
}

// Turns scores into weights relative to the largest so far, as elements.
template <class Element>
HWY_INLINE void SoftmaxRow(float* scores, int64_t count, float& largest, float* totals, float& correction) {
  const DFloat d;
  VFloat maximum = hn::Set(d, kMinusInfinity);
  for (int64_t key = 0; key < count; key += kLanes) maximum = hn::Max(maximum, hn::Load(d, scores + key));
  const VFloat now = hn::Max(hn::Set(d, largest), hn::Mul(hn::MaxOfLanes(d, maximum), hn::Set(d, kLog2e)));
  // Nothing seen yet: any finite number makes the weights 2^(-inf - 0) = 0.
  const VFloat reference = hn::IfThenZeroElse(hn::Eq(now, hn::Set(d, kMinusInfinity)), now);
  const VFloat factor = Exp2(hn::Sub(hn::Set(d, largest), reference));
  VFloat sum = hn::Mul(hn::Load(d, totals), factor);
  for (int64_t key = 0; key < count; key += kLanes) {
    VFloat weight = Weight(hn::Load(d, scores + key), reference);
    sum = hn::Add(sum, weight);
    Element::StoreNumbers(weight, scores + key / Element::kNumbers);
  }
  hn::Store(sum, d, totals);
  correction = hn::GetLane(factor);
  largest = hn::GetLane(now);
}

// `scaled`: room for the elements of a tile's queries, each in whole vectors, and for one query.
template <class Element>
void StartRows(const Attention& args, int64_t batch, int64_t group, const Rows& rows, float* scaled) {
  const DFloat d;
  const int64_t padded = rows.tiles() * rows.height, repeat = args.heads / args.groups;
  for (int64_t idx = 0; idx < padded * Padded(args.value_width); idx += kLanes)
    hn::Store(hn::Zero(d), d, rows.sums + idx);
  for (int64_t idx = 0; idx < padded * kLanes; idx += kLanes) hn::Store(hn::Zero(d), d, rows.totals + idx);
  for (int64_t line = 0; line < padded; ++line) rows.largest[line] = kMinusInfinity;
  const VFloat scale = hn::Set(d, args.scale);
  auto query_of = [&](int64_t line) {
    const int64_t row = rows.first + HWY_MIN(line, rows.count - 1);
    return QueryAt(args, batch, row / repeat, group * repeat + row % repeat);
  };
  // Queries lie far apart, where no prefetcher finds them.
  auto prefetch = [&](int64_t tile) {
    for (int64_t line = tile * rows.height; line < HWY_MIN((tile + 1) * rows.height, rows.count); ++line)
      for (int64_t feature = 0; feature < args.width; feature += kLineFloats)
        hwy::Prefetch(query_of(line) + feature);
  };
  prefetch(0);
  const int64_t elements = ElementsOf<Element>(args.width), stride = Padded(elements);
  float* one = scaled + rows.height * stride;
  for (int64_t tile = 0; tile < rows.tiles(); ++tile) {
    prefetch(tile + 1);
    for (int64_t line = 0; line < rows.height; ++line) {
      const float* q = query_of(tile * rows.height + line);
      int64_t feature = 0;
      for (; feature + kLanes <= args.width; feature += kLanes)
        hn::StoreU(hn::Mul(hn::LoadU(d, q + feature), scale), d, one + feature);
      for (; feature < args.width; ++feature) one[feature] = q[feature] * hn::GetLane(scale);
      StoreRow<Element>(KvRow<float>{one, nullptr}, args.width, scaled + line * stride);
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
  // What lies behind the last key that anybody sees is not even multiplied.
  keys = HWY_MIN(keys, HWY_MAX(some.last, some.prefix) - first_key);
  if (keys <= 0 || (first_key + keys <= some.first && first_key >= some.prefix)) return;
  const bool is_adjusted = IsAdjusted(args) ||
                           !VisibleTo(args, first_query).SeesAll(first_key, first_key + keys) ||
                           !VisibleTo(args, last_query).SeesAll(first_key, first_key + keys);
  WithHeight(rows.height,
             [&]<int kHeight>() { ScoreBlock<Element, kHeight>(args, rows, keys, block, work.scores); });
  for (int64_t line = 0; line < rows.tiles() * rows.height; ++line) {
    float* scores = work.scores + line * kBlockKeys<Element>;
    const int64_t row = rows.first + HWY_MIN(line, rows.count - 1);
    if (is_adjusted)
      AdjustRow(args, batch, row / repeat, group * repeat + row % repeat, first_key, keys, scores);
    for (int64_t key = keys; key % kLanes != 0; ++key) scores[key] = kMinusInfinity;
    SoftmaxRow<Element>(scores, keys, rows.largest[line], rows.totals + line * kLanes,
                        work.corrections[line]);
  }
  WithHeight(rows.height,
             [&]<int kHeight>() { ValueBlock<Element, kHeight>(args, rows, keys, block, work); });
}

// A task takes rows of one group of heads, and a part of the keys.
struct Plan {
  int64_t group_rows;   // of all tasks of a group
  int64_t task_rows;    // of a task, a multiple of kBlockRows
  int64_t row_tasks;    // of a group
  int64_t parts;        // of the keys
  int64_t task_floats;  // of all its Rows
};

template <class Element>
Plan MakePlan(const Attention& args) {
  Plan plan{};
  plan.group_rows = args.heads / args.groups * args.queries;
  // Rows, their sums and a block stay in a second-level cache of 512 KB; packing a block costs about as much
  // as passing 10 rows.
  constexpr int64_t kStateFloats = 96 << 10;
  const int64_t fitting = kStateFloats / (args.width + args.value_width);
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
  const int64_t key_blocks = (args.keys + kBlockKeys<Element> - 1) / kBlockKeys<Element>;
  plan.parts =
      tasks >= threads ? 1 : HWY_MAX(int64_t{1}, HWY_MIN((threads + tasks - 1) / tasks, key_blocks / 4));
  return plan;
}

template <class Element>
void AttendIn(const Attention& args) {
  const Plan plan = MakePlan<Element>(args);
  const int64_t pairs = args.batch * args.groups, tasks = pairs * plan.row_tasks;
  const int64_t key_blocks = (args.keys + kBlockKeys<Element> - 1) / kBlockKeys<Element>;
  const int64_t repeat = args.heads / args.groups, value_stride = Padded(args.value_width);
  const int64_t rows_floats = plan.task_floats / (plan.task_rows / kBlockRows);
  const int64_t rows_room =
      (kBlockKeys<Element> + 1) * Padded(args.width);  // keys, or a tile of queries and one more
  const int64_t work_floats = kBlockRows * (kBlockKeys<Element> + 1) + rows_room;
  static thread_local Scratch states_memory;
  float* states = plan.parts > 1 ? states_memory.get<float>(tasks * plan.parts * plan.task_floats) : nullptr;

  // Calls body(rows, part) for the rows of a task; memory: of its first part.
  auto for_rows = [&](int64_t task, float* memory, const auto& body) {
    const int64_t first = task / pairs * plan.task_rows;
    const int64_t last = HWY_MIN(first + plan.task_rows, plan.group_rows);
    for (int64_t row = first; row < last; row += kBlockRows, memory += rows_floats)
      body(RowsIn(args, row, last, memory));
  };
  auto finish = [&](int64_t task, float* memory, int64_t parts) {
    const int64_t batch = task % pairs / args.groups, group = task % args.groups;
    for_rows(task, memory, [&](const Rows& rows) {
      for (int64_t line = 0; line < rows.count; ++line) {
        const int64_t row = rows.first + line;
        auto state = [&](int64_t part) {
          const int64_t at = part * plan.task_floats;
          float total = 0.0f;
          for (int64_t lane = 0; lane < kLanes; ++lane) total += rows.totals[at + line * kLanes + lane];
          return RowState{rows.sums + at + line * value_stride, rows.largest[at + line], total};
        };
        FinishRow(parts, state, OutputAt(args, batch, row / repeat, group * repeat + row % repeat),
                  args.value_width, args.value_width, 0);
      }
    });
  };

  const int64_t operations =
      2 * args.batch * args.heads * args.queries * args.keys * (args.width + args.value_width);
  for_each_balanced(tasks * plan.parts, operations, [&](int64_t idx) {
    // Later rows of causal attention see more keys: the long tasks go first.
    const int64_t task = tasks - 1 - idx / plan.parts, part = idx % plan.parts;
    const int64_t batch = task % pairs / args.groups, group = task % args.groups;
    static thread_local Scratch scratch;
    const int64_t block_floats = BlockFloats<Element>(args), own_floats = states ? 0 : plan.task_floats;
    float* block = scratch.get<float>(block_floats + own_floats + work_floats + 64);
    float* memory = states ? states + (task * plan.parts + part) * plan.task_floats : block + block_floats;
    const Work work{block + block_floats + own_floats,
                    block + block_floats + own_floats + kBlockRows * kBlockKeys<Element>};
    float* widened = work.corrections + kBlockRows;

    for_rows(task, memory, [&](const Rows& rows) { StartRows<Element>(args, batch, group, rows, widened); });
    const int64_t first_row = task / pairs * plan.task_rows;
    const int64_t last_row = HWY_MIN(first_row + plan.task_rows, plan.group_rows) - 1;
    const Visible some = VisibleToSome(args, first_row / repeat, last_row / repeat);
    for (int64_t key_block = key_blocks * part / plan.parts; key_block < key_blocks * (part + 1) / plan.parts;
         ++key_block) {
      const int64_t key = key_block * kBlockKeys<Element>,
                    count = HWY_MIN(kBlockKeys<Element>, args.keys - key);
      if ((key + count <= some.first || key >= some.last) && key >= some.prefix) continue;
      PackBlock<Element>(args, batch, group, key, widened, block);
      for_rows(task, memory, [&](const Rows& rows) {
        PassBlock<Element>(args, batch, group, rows, key, count, block, work);
      });
    }
    if (!states) finish(task, memory, 1);
  });
  if (states)
    for_each_balanced(tasks, 4 * tasks * plan.parts * plan.task_floats, [&](int64_t task) {
      finish(task, states + task * plan.parts * plan.task_floats, plan.parts);
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
