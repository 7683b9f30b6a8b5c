#include "kernels/attention.h"

#include <limits>

#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/math-inl.h"
#include "kernels/transpose-inl.h"

// The scheme is that of flash attention (arXiv:2205.14135): keys come in blocks; every query keeps the
// largest score so far, the sum of exponentials and the weighted sum of values relative to it.
//
// The heads that share a group of keys are rows of one product, as are the queries: "row" below is
// head_in_group
// * queries + query. So one pass over keys and values serves all heads of a group, also when there is one
// query.

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
constexpr int64_t kColumns = 16;
constexpr int kVectors = static_cast<int>(kColumns) / kLanes;
constexpr int kMaxHeight = kLanes == 16 ? 12 : 6;
constexpr int64_t kMaxRows = 48;
constexpr int64_t kBlockKeys = 64;  // keys and values of a block: 32 KB at a head width of 64
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

int64_t Padded(int64_t width) {
  return (width + kColumns - 1) / kColumns * kColumns;
}
int64_t BlockFloats(const Attention& args) {
  return kBlockKeys * (args.width + Padded(args.value_width));
}

// Keys as four panels [width, 16], then values as [64, padded value width]; zero where there is nothing.
void PackBlock(const Attention& args, int64_t batch, int64_t group, int64_t first_key, float* to) {
  const int64_t count = HWY_MIN(kBlockKeys, args.keys - first_key);
  const int64_t value_stride = Padded(args.value_width);
  if (count < kBlockKeys || value_stride != args.value_width)
    for (int64_t idx = 0; idx < BlockFloats(args); ++idx) to[idx] = 0.0f;
  const float* k =
      args.k + batch * args.k_strides[0] + first_key * args.k_strides[1] + group * args.k_strides[2];
  for (int64_t key = 0; key < count; key += kColumns)
    Transpose(k + key * args.k_strides[1], args.k_strides[1], HWY_MIN(kColumns, count - key), args.width,
              to + key * args.width, kColumns);
  const float* v =
      args.v + batch * args.v_strides[0] + first_key * args.v_strides[1] + group * args.v_strides[2];
  float* values = to + kBlockKeys * args.width;
  for (int64_t key = 0; key < count; ++key)
    __builtin_memcpy(values + key * value_stride, v + key * args.v_strides[1],
                     static_cast<size_t>(args.value_width) * sizeof(float));
}

// What one task works on, and its memory.
struct Rows {
  int64_t batch, group, first, count;
  int height;          // of a tile: 1, 2, 4, 6, 8 or 12
  float* q;            // [tiles, width, height], scaled
  float* scores;       // [tiles * height, 64]
  float* sums;         // [tiles * height, padded value width]
  float* largest;      // [tiles * height]
  float* totals;       // [tiles * height]
  float* corrections;  // [tiles * height]
  int64_t tiles() const { return (count + height - 1) / height; }
};

int HeightFor(int64_t count) {
  int64_t tiles = (count + kMaxHeight - 1) / kMaxHeight;
  int64_t wanted = (count + tiles - 1) / tiles;
  for (int height : {1, 2, 4, 6, 8})
    if (wanted <= height && height <= kMaxHeight) return height;
  return kMaxHeight;
}

// Sums of a tile. Low tiles are added up in several chains, or each addition would wait for the one before.
template <int kHeight>
struct TileSums {
  static constexpr int kChains = HWY_MAX(1, 8 / (kHeight * kVectors));
  VFloat chains[kChains][kHeight][kVectors];

  HWY_INLINE TileSums() {
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
        for (int vector = 0; vector < kVectors; ++vector) chains[chain][row][vector] = hn::Zero(DFloat());
  }

  // Adds factors[row * factor_stride] times 16 columns.
  HWY_INLINE void Add(int chain, const float* factors, int64_t factor_stride, const float* columns) {
    const DFloat d;
    VFloat values[kVectors];
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) values[vector] = hn::Load(d, columns + vector * kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row) {
      VFloat factor = hn::Set(d, factors[row * factor_stride]);
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector)
        chains[chain][row][vector] = hn::MulAdd(factor, values[vector], chains[chain][row][vector]);
    }
  }

  HWY_INLINE VFloat Total(int row, int vector) const {
    VFloat total = chains[0][row][vector];
#pragma GCC unroll 8
    for (int chain = 1; chain < kChains; ++chain) total = hn::Add(total, chains[chain][row][vector]);
    return total;
  }
};

// scores = q . k^T for one tile of rows and one panel of 16 keys.
template <int kHeight>
HWY_NOINLINE void Scores(const float* q, const float* panel, int64_t width, float* scores) {
  TileSums<kHeight> sums;
  constexpr int kChains = TileSums<kHeight>::kChains;
  int64_t feature = 0;
  for (; feature + kChains <= width; feature += kChains)
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
      sums.Add(chain, q + (feature + chain) * kHeight, 1, panel + (feature + chain) * kColumns);
  for (; kChains > 1 && feature < width; ++feature)
    sums.Add(0, q + feature * kHeight, 1, panel + feature * kColumns);
#pragma GCC unroll 16
  for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector)
      hn::Store(sums.Total(row, vector), DFloat(), scores + row * kBlockKeys + vector * kLanes);
}

// sums = sums * correction + weights . v for one tile of rows and 16 features.
template <int kHeight>
HWY_NOINLINE void AddValues(const float* weights, const float* values, int64_t value_stride, int64_t keys,
                            const float* corrections, float* sums) {
  const DFloat d;
  TileSums<kHeight> added;
  constexpr int kChains = TileSums<kHeight>::kChains;
  int64_t key = 0;
  for (; key + kChains <= keys; key += kChains)
#pragma GCC unroll 8
    for (int chain = 0; chain < kChains; ++chain)
      added.Add(chain, weights + key + chain, kBlockKeys, values + (key + chain) * value_stride);
  for (; kChains > 1 && key < keys; ++key)
    added.Add(0, weights + key, kBlockKeys, values + key * value_stride);
#pragma GCC unroll 16
  for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) {
      float* at = sums + row * value_stride + vector * kLanes;
      VFloat before = hn::Mul(hn::Load(d, at), hn::Set(d, corrections[row]));
      hn::Store(hn::Add(before, added.Total(row, vector)), d, at);
    }
}

template <int kHeight>
void ScoreBlock(const Attention& args, const Rows& rows, const float* block) {
  for (int64_t panel = 0; panel < kBlockKeys / kColumns; ++panel)
    for (int64_t tile = 0; tile < rows.tiles(); ++tile)
      Scores<kHeight>(rows.q + tile * args.width * kHeight, block + panel * args.width * kColumns, args.width,
                      rows.scores + tile * kHeight * kBlockKeys + panel * kColumns);
}

template <int kHeight>
void ValueBlock(const Attention& args, const Rows& rows, const float* block, int64_t keys) {
  const int64_t value_stride = Padded(args.value_width);
  const float* values = block + kBlockKeys * args.width;
  for (int64_t column = 0; column < value_stride; column += kColumns)
    for (int64_t tile = 0; tile < rows.tiles(); ++tile)
      AddValues<kHeight>(rows.scores + tile * kHeight * kBlockKeys, values + column, value_stride, keys,
                         rows.corrections + tile * kHeight,
                         rows.sums + tile * kHeight * value_stride + column);
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

// The keys one query sees: [first, last), and [0, prefix).
struct Visible {
  int64_t first, last, prefix;
};

Visible VisibleTo(const Attention& args, int64_t row) {
  if (!args.is_causal) return {0, args.keys, 0};
  int64_t position = args.keys - args.queries + row % args.queries;
  int64_t first = args.window > 0 ? HWY_MAX(int64_t{0}, position - args.window + 1) : 0;
  return {first, position + 1, args.prefix};
}

// Caps, biases and hides the scores of one row against a block of keys.
void AdjustRow(const Attention& args, const Rows& rows, int64_t row, int64_t first_key, int64_t count,
               float* scores) {
  const DFloat d;
  const int64_t head = rows.group * (args.heads / args.groups) + row / args.queries;
  const int64_t query = row % args.queries;
  if (args.softcap > 0)
    for (int64_t key = 0; key < kBlockKeys; key += kLanes) {
      VFloat score = hn::Mul(hn::Load(d, scores + key), hn::Set(d, 1.0f / args.softcap));
      hn::Store(hn::Mul(Tanh(d, score), hn::Set(d, args.softcap)), d, scores + key);
    }
  if (args.alibi_slopes) {
    const int64_t distance = first_key - (args.keys - args.queries + query);
    for (int64_t key = 0; key < count; ++key)
      scores[key] += args.alibi_slopes[head] * static_cast<float>(distance + key);
  }
  if (args.bias) {
    const float* bias = args.bias + rows.batch * args.bias_strides[0] + head * args.bias_strides[1] +
                        query * args.bias_strides[2] + first_key;
    for (int64_t key = 0; key < count; ++key) scores[key] += bias[key];
  }
  const Visible visible = VisibleTo(args, row);
  if (visible.first > first_key || visible.last < first_key + count)
    for (int64_t key = 0; key < count; ++key) {
      int64_t at = first_key + key;
      if ((at < visible.first || at >= visible.last) && at >= visible.prefix) scores[key] = kMinusInfinity;
    }
  if (args.key_mask)
    for (int64_t key = 0; key < count; ++key)
      if (!args.key_mask[rows.batch * args.keys + first_key + key]) scores[key] = kMinusInfinity;
  for (int64_t key = count; key < kBlockKeys; ++key) scores[key] = kMinusInfinity;
}

// Turns scores into weights relative to the largest so far.
void SoftmaxRow(float* scores, float& largest, float& total, float& correction) {
  const DFloat d;
  VFloat maximum = hn::Set(d, largest);
  for (int64_t key = 0; key < kBlockKeys; key += kLanes)
    maximum = hn::Max(maximum, hn::Load(d, scores + key));
  const float now = hn::GetLane(hn::MaxOfLanes(d, maximum));
  // Nothing seen yet: any finite number makes the weights exp(-inf - 0) = 0.
  const VFloat reference = hn::Set(d, now == kMinusInfinity ? 0.0f : now);
  VFloat sum = hn::Zero(d);
  for (int64_t key = 0; key < kBlockKeys; key += kLanes) {
    VFloat weight = Exp(d, hn::Sub(hn::Load(d, scores + key), reference));
    sum = hn::Add(sum, weight);
    hn::Store(weight, d, scores + key);
  }
  correction = hn::GetLane(Exp(d, hn::Sub(hn::Set(d, largest), reference)));
  total = total * correction + hn::GetLane(hn::SumOfLanes(d, sum));
  largest = now;
}

void StartRows(const Attention& args, const Rows& rows) {
  const int64_t padded = rows.tiles() * rows.height, value_stride = Padded(args.value_width);
  for (int64_t idx = 0; idx < padded * value_stride; ++idx) rows.sums[idx] = 0.0f;
  for (int64_t line = 0; line < padded; ++line) {
    rows.largest[line] = kMinusInfinity;
    rows.totals[line] = 0.0f;
    rows.corrections[line] = 0.0f;
    float* to = rows.q + line / rows.height * args.width * rows.height + line % rows.height;
    const int64_t row = rows.first + line;
    const int64_t head = rows.group * (args.heads / args.groups) + row / args.queries;
    const float* q = args.q + rows.batch * args.q_strides[0] + row % args.queries * args.q_strides[1] +
                     head * args.q_strides[2];
    for (int64_t feature = 0; feature < args.width; ++feature)
      to[feature * rows.height] = line < rows.count ? q[feature] * args.scale : 0.0f;
  }
}

// Adds keys [first_key, last_key) to the rows. `packed`: the blocks of this group, or null to pack them here.
void Attend(const Attention& args, const Rows& rows, int64_t first_key, int64_t last_key, const float* packed,
            float* own_block) {
  StartRows(args, rows);
  // The block is skipped when nobody of the task sees it.
  int64_t seen_first = args.keys, seen_last = 0;
  for (int64_t line = 0; line < rows.count; ++line) {
    Visible visible = VisibleTo(args, rows.first + line);
    seen_first = HWY_MIN(seen_first, visible.first);
    seen_last = HWY_MAX(seen_last, visible.last);
  }
  const bool is_adjusted_always = args.softcap > 0 || args.alibi_slopes || args.bias || args.key_mask;
  for (int64_t key = first_key; key < last_key; key += kBlockKeys) {
    if ((key + kBlockKeys <= seen_first || key >= seen_last) && (!args.is_causal || key >= args.prefix))
      continue;
    const int64_t count = HWY_MIN(kBlockKeys, args.keys - key);
    const float* block = own_block;
    if (packed)
      block = packed + key / kBlockKeys * BlockFloats(args);
    else
      PackBlock(args, rows.batch, rows.group, key, own_block);
    WithHeight(rows.height, [&]<int kHeight>() { ScoreBlock<kHeight>(args, rows, block); });
    for (int64_t line = 0; line < rows.count; ++line) {
      float* scores = rows.scores + line * kBlockKeys;
      if (is_adjusted_always || args.is_causal || count < kBlockKeys)
        AdjustRow(args, rows, rows.first + line, key, count, scores);
      SoftmaxRow(scores, rows.largest[line], rows.totals[line], rows.corrections[line]);
    }
    WithHeight(rows.height, [&]<int kHeight>() { ValueBlock<kHeight>(args, rows, block, count); });
  }
}

// Adds up `splits` parts of the keys, `part_floats` apart, and writes the result.
void FinishRows(const Attention& args, const Rows& rows, int64_t splits, int64_t part_floats) {
  const DFloat d;
  const int64_t value_stride = Padded(args.value_width);
  for (int64_t line = 0; line < rows.count; ++line) {
    float largest = kMinusInfinity, total = 0.0f;
    for (int64_t split = 0; split < splits; ++split)
      largest = HWY_MAX(largest, rows.largest[line + split * part_floats]);
    const int64_t row = rows.first + line;
    const int64_t head = rows.group * (args.heads / args.groups) + row / args.queries;
    float* y =
        args.y + ((rows.batch * args.queries + row % args.queries) * args.heads + head) * args.value_width;
    for (int64_t feature = 0; feature < args.value_width; ++feature) y[feature] = 0.0f;
    for (int64_t split = 0; split < splits; ++split) {
      const int64_t at = split * part_floats;
      if (rows.largest[line + at] == kMinusInfinity) continue;
      const float factor = hn::GetLane(Exp(d, hn::Set(d, rows.largest[line + at] - largest)));
      total += rows.totals[line + at] * factor;
      const float* sums = rows.sums + line * value_stride + at;
      for (int64_t feature = 0; feature < args.value_width; ++feature) y[feature] += sums[feature] * factor;
    }
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
    for (int64_t feature = 0; feature < args.value_width; ++feature) y[feature] *= inverse;
  }
}

// One run over sequences [first_batch, first_batch + batches).
void Run(const Attention& args, int64_t first_batch, int64_t batches, float* packed) {
  const int64_t group_rows = args.heads / args.groups * args.queries;
  const int64_t row_blocks = (group_rows + kMaxRows - 1) / kMaxRows;
  const int64_t key_blocks = (args.keys + kBlockKeys - 1) / kBlockKeys;
  const int64_t group_floats = key_blocks * BlockFloats(args);
  if (packed)
    for_each_balanced(
        batches * args.groups * key_blocks, 2 * batches * args.groups * group_floats, [&](int64_t task) {
          const int64_t pair = task / key_blocks, block = task % key_blocks;
          PackBlock(args, first_batch + pair / args.groups, pair % args.groups, block * kBlockKeys,
                    packed + pair * group_floats + block * BlockFloats(args));
        });

  // Few tasks and many keys: threads share the keys of a task.
  const int64_t tasks = batches * args.groups * row_blocks, wanted = 2 * num_threads();
  const int64_t splits =
      tasks >= wanted ? 1 : HWY_MAX(int64_t{1}, HWY_MIN((wanted + tasks - 1) / tasks, key_blocks / 4));

  const int64_t height_limit = kMaxRows + kMaxHeight, value_stride = Padded(args.value_width);
  const int64_t state_floats = (height_limit * (value_stride + 3) + 15) / 16 * 16;
  const int64_t work_floats = (height_limit * (args.width + kBlockKeys) + 15) / 16 * 16;
  static thread_local Scratch parts;
  float* states = splits > 1 ? parts.get<float>(tasks * splits * state_floats) : nullptr;

  auto rows_of = [&](int64_t task, float* state, float* work) {
    Rows rows{};
    rows.batch = first_batch + task / (args.groups * row_blocks);
    rows.group = task / row_blocks % args.groups;
    rows.first = task % row_blocks * kMaxRows;
    rows.count = HWY_MIN(kMaxRows, group_rows - rows.first);
    rows.height = HeightFor(rows.count);
    rows.sums = state;
    rows.largest = rows.sums + height_limit * value_stride;
    rows.totals = rows.largest + height_limit;
    rows.corrections = rows.totals + height_limit;
    rows.scores = work;
    rows.q = work + height_limit * kBlockKeys;
    return rows;
  };

  const int64_t operations =
      2 * batches * args.heads * args.queries * args.keys * (args.width + args.value_width);
  for_each_balanced(tasks * splits, operations, [&](int64_t idx) {
    // Later rows of causal attention see more keys: the long tasks go first.
    const int64_t task = tasks - 1 - idx / splits, split = idx % splits;
    static thread_local Scratch scratch;
    float* memory = scratch.get<float>(work_floats + state_floats + BlockFloats(args));
    float* state = states ? states + (task * splits + split) * state_floats : memory + work_floats;
    const Rows rows = rows_of(task, state, memory);
    const int64_t first_key = key_blocks * split / splits * kBlockKeys;
    const int64_t last_key = HWY_MIN(args.keys, key_blocks * (split + 1) / splits * kBlockKeys);
    const int64_t pair = (rows.batch - first_batch) * args.groups + rows.group;
    Attend(args, rows, first_key, last_key, packed ? packed + pair * group_floats : nullptr,
           memory + work_floats + state_floats);
    if (splits == 1) FinishRows(args, rows, 1, 0);
  });
  if (splits > 1)
    for_each_balanced(tasks, 4 * tasks * splits * state_floats, [&](int64_t task) {
      FinishRows(args, rows_of(task, states + task * splits * state_floats, nullptr), splits, state_floats);
    });
}

void RunAll(const Attention& args) {
  const int64_t group_rows = args.heads / args.groups * args.queries;
  if (group_rows <= kMaxRows) return Run(args, 0, args.batch, nullptr);
  // Several tasks read the same keys: all are packed first, as many sequences at a time as fit 8 MB.
  const int64_t key_blocks = (args.keys + kBlockKeys - 1) / kBlockKeys;
  const int64_t floats = args.groups * key_blocks * BlockFloats(args);
  const int64_t at_once = HWY_MAX(int64_t{1}, HWY_MIN(args.batch, (int64_t{8} << 20) / 4 / floats));
  static thread_local Scratch scratch;
  float* packed = scratch.get<float>(at_once * floats);
  for (int64_t batch = 0; batch < args.batch; batch += at_once)
    Run(args, batch, HWY_MIN(at_once, args.batch - batch), packed);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(RunAll);

void attention(const Attention& args) {
  if (args.batch <= 0 || args.queries <= 0 || args.heads <= 0 || args.value_width <= 0) return;
  if (args.keys <= 0) {
    for (int64_t idx = 0; idx < args.batch * args.queries * args.heads * args.value_width; ++idx)
      args.y[idx] = 0.0f;
    return;
  }
  HWY_DYNAMIC_DISPATCH(RunAll)(args);
}

}  // namespace vlm::kernels
#endif
