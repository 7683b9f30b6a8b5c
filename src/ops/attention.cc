#include "ops/attention.h"

#include <limits>

#include "kernels/attention.h"
#include "kernels/product.h"
#include "ops/attention_gradient.h"
#include "ops/choose.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

namespace {

// [T, S], true where query t may see key s; undefined when everybody sees everything.
Tensor visible(int64_t num_queries, int64_t num_keys, const AttentionArgs& args) {
  if (!args.is_causal || (num_queries == 1 && args.window == 0)) return Tensor();
  Tensor query = at::arange(num_keys - num_queries, num_keys, at::kLong).unsqueeze(1);
  Tensor key = at::arange(num_keys, at::kLong).unsqueeze(0);
  Tensor seen = key <= query;
  if (args.window > 0) seen = seen.logical_and(key > query - args.window);
  if (args.prefix > 0) seen = seen.logical_or(key < args.prefix);
  return seen;
}

// The definition.
Tensor attention_plain(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                       const AttentionArgs& args) {
  int64_t batch = q_BTAE.size(0), num_queries = q_BTAE.size(1), num_heads = q_BTAE.size(2);
  int64_t num_keys = k_BSGE.size(1), num_groups = k_BSGE.size(2);
  int64_t repeat = num_heads / num_groups;

  // Grouped queries: the heads of one group stand below each other as rows of one product.   B G (rT) E
  Tensor q = q_BTAE.permute({0, 2, 1, 3}).reshape({batch, num_groups, repeat * num_queries, q_BTAE.size(3)});
  Tensor k = k_BSGE.permute({0, 2, 3, 1});
  Tensor v = v_BSGE.permute({0, 2, 1, 3});
  Tensor scores = at::matmul(q * args.scale, k).view({batch, num_heads, num_queries, num_keys});
  if (args.softcap > 0) scores = at::tanh(scores / args.softcap) * args.softcap;
  if (args.alibi_slopes.defined()) {
    Tensor key = at::arange(num_keys, at::kFloat);
    Tensor query = at::arange(num_keys - num_queries, num_keys, at::kFloat);
    scores = scores + args.alibi_slopes.view({num_heads, 1, 1}) * (key.unsqueeze(0) - query.unsqueeze(1));
  }
  if (args.bias.defined()) scores = scores + args.bias;
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (Tensor seen = visible(num_queries, num_keys, args); seen.defined())
    scores = scores.masked_fill(seen.logical_not(), kHidden);
  if (args.key_mask.defined())
    scores = scores.masked_fill(args.key_mask.logical_not().view({batch, 1, 1, num_keys}), kHidden);
  Tensor weights = at::softmax(scores, -1).view({batch, num_groups, repeat * num_queries, num_keys});
  return at::matmul(weights, v)  // B G (rT) E -> B T A E
      .view({batch, num_heads, num_queries, v.size(3)})
      .permute({0, 2, 1, 3});
}

// Queries and keys that see each other, of one head of one sequence.
double visible_pairs(int64_t num_queries, int64_t num_keys, const AttentionArgs& args) {
  if (!args.is_causal) return static_cast<double>(num_queries) * static_cast<double>(num_keys);
  int64_t pairs = 0;
  for (int64_t query = num_keys - num_queries; query < num_keys; ++query) {
    int64_t first = args.window > 0 ? std::max<int64_t>(query - args.window + 1, 0) : 0;
    int64_t before = std::min(first, args.prefix), behind = std::max<int64_t>(args.prefix - query - 1, 0);
    pairs += query + 1 - first + before + behind;
  }
  return static_cast<double>(pairs);
}

void copy_strides(const Tensor& tensor, int64_t (&strides)[3]) {
  for (int64_t axis = 0; axis < 3; ++axis) strides[axis] = tensor.stride(axis);
}

kernels::KvType kv_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kernels::KvType::f32;
    case at::kHalf:
      return kernels::KvType::f16;
    case at::kChar:
      return kernels::KvType::int8;
    default:
      fail(ErrorKind::internal, "", "keys of {}", dtype_name(type));
  }
}

kernels::KvRows kv_rows(const Tensor& rows, const Tensor& scales) {
  kernels::KvRows view{};
  view.data = rows.data_ptr();
  copy_strides(rows, view.strides);
  if (scales.defined()) {
    view.scales = scales.data_ptr<float>();
    copy_strides(scales, view.scale_strides);
  }
  return view;
}

// [G, capacity, width] of tiles, a copy.
Tensor rows_of_tiles(const Tensor& tiles) {
  return tiles.transpose(2, 3).reshape({tiles.size(0), tiles.size(1) * tiles.size(3), -1});
}

kernels::KvRows tile_rows(const Tensor& tiles) {
  kernels::KvRows view{};
  view.data = tiles.data_ptr();
  view.strides[1] = tiles.stride(1), view.strides[2] = tiles.stride(0);
  view.tile = tiles.size(3);
  return view;
}

int64_t num_keys(const KeyValues& kv) {
  return kv.k_tiles.defined() ? kv.keys : kv.k_BSGE.size(1);
}
int64_t num_groups(const KeyValues& kv) {
  return kv.k_tiles.defined() ? kv.k_tiles.size(0) : kv.k_BSGE.size(2);
}

// [B, S, G, width] in float32.
Tensor widened(const Tensor& rows, const Tensor& scales, int64_t width) {
  if (!scales.defined()) return rows.scalar_type() == at::kHalf ? rows.to(at::kFloat) : rows;
  Tensor groups = rows.to(at::kFloat).unflatten(3, {scales.size(3), kernels::kKvGroup});
  return (groups * scales.unsqueeze(4)).flatten(3).narrow(3, 0, width);
}

Tensor widened_tiles(const Tensor& tiles, int64_t keys, int64_t width) {
  return rows_of_tiles(tiles)
      .narrow(1, 0, keys)
      .narrow(2, 0, width)
      .transpose(0, 1)
      .unsqueeze(0)
      .to(at::kFloat);
}

int64_t value_width(const KeyValues& kv) {
  return kv.value_width > 0 ? kv.value_width : kv.v_BSGE.size(3);
}

double bytes_of_tiles(const Tensor& tiles, int64_t keys) {
  if (!tiles.defined()) return 0.0;
  return static_cast<double>(tiles.size(0) * keys * tiles.size(2) * tiles.size(4)) *
         static_cast<double>(tiles.element_size());
}

tally::Work work_of(const Tensor& q_BTAE, const KeyValues& kv, const AttentionArgs& args) {
  auto bytes = [](const Tensor& tensor) {
    return tensor.defined() ? static_cast<double>(tensor.numel()) * static_cast<double>(tensor.element_size())
                            : 0.0;
  };
  double pairs = visible_pairs(q_BTAE.size(1), num_keys(kv), args);
  double operations = 2.0 * pairs * static_cast<double>(q_BTAE.size(0) * q_BTAE.size(2)) *
                      static_cast<double>(q_BTAE.size(3) + value_width(kv));
  return {.float_operations = args.may_round ? 0 : operations,
          .half_operations = args.may_round ? operations : 0,
          .bytes = bytes(kv.k_BSGE) + bytes(kv.v_BSGE) + bytes(kv.k_scales_BSGN) + bytes(kv.v_scales_BSGN) +
                   bytes_of_tiles(kv.k_tiles, kv.keys) + bytes_of_tiles(kv.v_tiles, kv.keys)};
}

bool has_plain_rows(const Tensor& tensor) {
  return !tensor.defined() || tensor.stride(3) == 1 || tensor.size(3) == 1;
}

// A few tokens of one sequence are computed as each is alone, so that what a pass over guessed tokens finds
// is what passes over single ones find, to the bit. The kernel of few rows sees to that by itself; how the
// other one splits and sums the keys depends on how many queries it gets.
bool counts_one_by_one(int64_t batch, int64_t num_queries, int64_t num_keys, const AttentionArgs& args) {
  if (batch != 1 || num_queries == 1 || num_queries > kernels::kFewRows) return false;
  // The first query must see all of the prefix; distances count from the last key where all keys are seen.
  return args.is_causal ? args.prefix <= num_keys - num_queries + 1 : !args.alibi_slopes.defined();
}

// A call of the kernel and what must outlive it. y: [batch, queries, heads, value width] without gaps.
struct Fused {
  kernels::Attention call{};
  Tensor slopes, mask, bias;
};

Fused fused_call(const Tensor& q, const KeyValues& kv, const AttentionArgs& args, float* y) {
  Fused fused;
  kernels::Attention& call = fused.call;
  call.q = q.data_ptr<float>();
  copy_strides(q, call.q_strides);
  if (kv.k_tiles.defined()) {
    call.kv_type = kernels::KvType::bf16;
    call.k = tile_rows(kv.k_tiles);
    call.v = tile_rows(kv.v_tiles);
  } else {
    call.kv_type = kv_type(kv.k_BSGE.scalar_type());
    call.k = kv_rows(kv.k_BSGE, kv.k_scales_BSGN);
    call.v = kv_rows(kv.v_BSGE, kv.v_scales_BSGN);
  }
  call.y = y;
  call.batch = q.size(0);
  call.queries = q.size(1);
  call.keys = num_keys(kv);
  call.heads = q.size(2);
  call.groups = num_groups(kv);
  call.width = q.size(3);
  call.value_width = value_width(kv);
  call.scale = static_cast<float>(args.scale);
  call.is_causal = args.is_causal;
  call.window = args.window;
  call.prefix = args.prefix;
  call.softcap = static_cast<float>(args.softcap);
  call.may_round = args.may_round;
  if (args.alibi_slopes.defined()) {
    fused.slopes = args.alibi_slopes.reshape({call.heads}).contiguous();
    call.alibi_slopes = fused.slopes.data_ptr<float>();
  }
  if (args.key_mask.defined()) {
    fused.mask = args.key_mask.expand({call.batch, call.keys}).contiguous();
    call.key_mask = fused.mask.data_ptr<bool>();
  }
  if (args.bias.defined()) {
    fused.bias = args.bias.expand({call.batch, call.heads, call.queries, call.keys});
    if (fused.bias.stride(3) != 1) fused.bias = fused.bias.contiguous();
    call.bias = fused.bias.data_ptr<float>();
    copy_strides(fused.bias, call.bias_strides);
  }
  return fused;
}

Tensor attention_fused(const Tensor& q, const KeyValues& kv, const AttentionArgs& args) {
  Tensor y = empty_result({q.size(0), q.size(1), q.size(2), value_width(kv)});
  Fused fused = fused_call(q, kv, args, y.data_ptr<float>());
  const kernels::Attention& call = fused.call;
  if (kernels::is_of_few_rows(call) || !counts_one_by_one(call.batch, call.queries, call.keys, args)) {
    kernels::attention(call);
    return y;
  }
  for (int64_t query = 0; query < call.queries; ++query) {
    kernels::Attention one = call;
    one.queries = 1;
    one.keys = args.is_causal ? call.keys - call.queries + query + 1 : call.keys;
    one.q += query * call.q_strides[1];
    one.y += query * call.heads * call.value_width;
    if (call.bias) one.bias += query * call.bias_strides[2];
    kernels::attention(one);
  }
  return y;
}

std::string shape_of(const Tensor& q_BTAE, const KeyValues& kv) {
  return fmt::format("{} x {} queries, {} keys, {} heads of {} on {}", q_BTAE.size(0), q_BTAE.size(1),
                     num_keys(kv), q_BTAE.size(2), q_BTAE.size(3), num_groups(kv));
}

void check_sizes(const Tensor& q_BTAE, const KeyValues& kv) {
  VLM_SHAPE(q_BTAE, kAny, kAny, kAny, kAny);
  int64_t width = q_BTAE.size(3);
  if (kv.k_tiles.defined()) {
    auto lines = [](int64_t width_of_row) {
      return kernels::kv_row_width(kernels::KvType::bf16, width_of_row) / kernels::kKvGroup;
    };
    const Tensor &k_tiles = kv.k_tiles, &v_tiles = kv.v_tiles;
    VLM_SHAPE(q_BTAE, 1, kAny, kAny, kAny);
    VLM_SHAPE(k_tiles, kAny, kAny, lines(width), kernels::kKeyTile, kernels::kKvGroup);
    VLM_SHAPE(v_tiles, k_tiles.size(0), kAny, lines(kv.value_width), kernels::kValueTile, kernels::kKvGroup);
    VLM_CHECK(kv.value_width > 0 && kv.keys <= k_tiles.size(1) * kernels::kKeyTile &&
                  kv.keys <= v_tiles.size(1) * kernels::kValueTile,
              "{} keys in {} and {}", kv.keys, describe(k_tiles), describe(v_tiles));
  } else {
    const Tensor &k_BSGE = kv.k_BSGE, &v_BSGE = kv.v_BSGE;
    bool is_int8 = k_BSGE.scalar_type() == at::kChar;
    VLM_SHAPE(k_BSGE, q_BTAE.size(0), kAny, kAny,
              is_int8 ? kernels::kv_row_width(kernels::KvType::int8, width) : width);
    VLM_SHAPE(v_BSGE, q_BTAE.size(0), k_BSGE.size(1), k_BSGE.size(2), kAny);
    VLM_CHECK(k_BSGE.scalar_type() == v_BSGE.scalar_type() && is_int8 == kv.k_scales_BSGN.defined() &&
                  is_int8 == kv.v_scales_BSGN.defined(),
              "keys are {}, values {}", describe(k_BSGE), describe(v_BSGE));
  }
  VLM_CHECK(num_groups(kv) > 0 && q_BTAE.size(2) % num_groups(kv) == 0, "{} query heads on {} key heads",
            q_BTAE.size(2), num_groups(kv));
}

// More than the definition keeps in the second-level cache (1 MB): fewer gain nothing by being computed anew.
bool has_many_scores(const Tensor& q_BTAE, const KeyValues& kv) {
  return q_BTAE.size(0) * q_BTAE.size(1) * q_BTAE.size(2) * num_keys(kv) > int64_t{1} << 18;
}

bool needs_gradient(const Tensor& q_BTAE, const KeyValues& kv) {
  return q_BTAE.requires_grad() || kv.k_BSGE.requires_grad() || kv.v_BSGE.requires_grad();
}

bool takes_kernel(const Tensor& q_BTAE, const KeyValues& kv, const AttentionArgs& args) {
  // Kept by a cache: without gradients.
  bool is_kept =
      kv.k_tiles.defined() || kv.k_BSGE.scalar_type() == at::kHalf || kv.k_BSGE.scalar_type() == at::kChar;
  return (is_kept || use_kernel({kv.k_BSGE, kv.v_BSGE})) &&
         use_kernel({q_BTAE, args.alibi_slopes, args.bias}) && has_plain_rows(q_BTAE) &&
         has_plain_rows(kv.k_BSGE) && has_plain_rows(kv.v_BSGE) && has_plain_rows(kv.k_scales_BSGN) &&
         has_plain_rows(kv.v_scales_BSGN) &&
         (!args.key_mask.defined() || args.key_mask.scalar_type() == at::kBool);
}

}  // namespace

Tensor attention(const Tensor& q_BTAE, const KeyValues& kv, const AttentionArgs& args) {
  check_sizes(q_BTAE, kv);
  tally::Span span("attention");
  if (span) span.add(work_of(q_BTAE, kv, args), shape_of(q_BTAE, kv));
  if (takes_kernel(q_BTAE, kv, args)) return attention_fused(q_BTAE, kv, args);
  if (!kv.k_tiles.defined() && needs_gradient(q_BTAE, kv) && has_many_scores(q_BTAE, kv) &&
      has_fused_gradient(q_BTAE, kv.k_BSGE, kv.v_BSGE, args))
    return attention_with_gradient(q_BTAE, kv.k_BSGE, kv.v_BSGE, args);
  int64_t width = q_BTAE.size(3);
  if (kv.k_tiles.defined())
    return attention_plain(q_BTAE, widened_tiles(kv.k_tiles, kv.keys, width),
                           widened_tiles(kv.v_tiles, kv.keys, kv.value_width), args);
  return attention_plain(q_BTAE, widened(kv.k_BSGE, kv.k_scales_BSGN, width),
                         widened(kv.v_BSGE, kv.v_scales_BSGN, value_width(kv)), args);
}

Tensor attention(const Tensor& q_TAE, const std::vector<Sequence>& sequences, AttentionArgs args) {
  VLM_CHECK(!sequences.empty(), "no sequences");
  std::vector<Tensor> queries;
  std::vector<Fused> calls;  // as long as one call of the kernel may serve all
  int64_t begin = 0;
  for (const Sequence& sequence : sequences) {
    Tensor q = q_TAE.narrow(0, begin, sequence.queries).unsqueeze(0);
    check_sizes(q, sequence.kv);
    args.prefix = sequence.prefix;
    if (calls.size() == queries.size() && sequence.queries > 0 && takes_kernel(q, sequence.kv, args)) {
      calls.push_back(fused_call(q, sequence.kv, args, nullptr));
      const kernels::Attention& call = calls.back().call;
      if (!kernels::is_of_few_rows(call) || call.value_width != calls.front().call.value_width)
        calls.pop_back();
    }
    queries.push_back(q);
    begin += sequence.queries;
  }
  VLM_CHECK(begin == q_TAE.size(0), "{} queries in {}", begin, describe(q_TAE));
  if (calls.size() < sequences.size()) {
    std::vector<Tensor> outputs;
    for (size_t idx = 0; idx < sequences.size(); ++idx) {
      args.prefix = sequences[idx].prefix;
      outputs.push_back(attention(queries[idx], sequences[idx].kv, args)[0]);
    }
    return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
  }
  tally::Span span("attention");
  if (span) {
    tally::Work work;
    for (size_t idx = 0; idx < sequences.size(); ++idx)
      work += work_of(queries[idx], sequences[idx].kv, args);
    span.add(work, fmt::format("{} of {}", sequences.size(), shape_of(queries[0], sequences[0].kv)));
  }
  Tensor y_TAE = empty_result({q_TAE.size(0), q_TAE.size(1), calls[0].call.value_width});
  float* y = y_TAE.data_ptr<float>();
  std::vector<kernels::Attention> together;
  for (const Fused& fused : calls) {
    together.push_back(fused.call);
    together.back().y = y;
    y += fused.call.queries * fused.call.heads * fused.call.value_width;
  }
  kernels::attentions_of_few_rows(together.data(), static_cast<int64_t>(together.size()));
  return y_TAE;
}

Tensor attention(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                 const AttentionArgs& args) {
  return attention(q_BTAE, KeyValues{k_BSGE, v_BSGE, {}, {}}, args);
}

KvPrecision kv_precision_from(const std::string& word) {
  for (KvPrecision precision : {KvPrecision::f32, KvPrecision::f16, KvPrecision::int8})
    if (word == kv_precision_name(precision)) return precision;
  fail(ErrorKind::bad_request, "known: f32, f16, int8", "keys and values in \"{}\"", word);
}

const char* kv_precision_name(KvPrecision precision) {
  switch (precision) {
    case KvPrecision::f32:
      return "f32";
    case KvPrecision::f16:
      return "f16";
    case KvPrecision::int8:
      return "int8";
  }
  return "";
}

bool attends_in_tiles(int64_t heads, int64_t groups, bool may_round) {
  return kernels_enabled() && kernels::attends_in_pairs(heads, groups, may_round);
}

int64_t KvStore::capacity() const {
  if (tiles.defined()) return tiles.size(1) * tiles.size(3);
  return rows_GCE.defined() ? rows_GCE.size(1) : 0;
}

KvStore make_kv_store(KvPrecision precision, int64_t groups, int64_t capacity, int64_t width, KvTiles tiles) {
  KvStore store;
  if (precision == KvPrecision::f16 && tiles != KvTiles::none) {
    int64_t tokens = tiles == KvTiles::keys ? kernels::kKeyTile : kernels::kValueTile;
    int64_t lines = kernels::kv_row_width(kernels::KvType::bf16, width) / kernels::kKvGroup;
    store.tiles = at::empty({groups, (capacity + tokens - 1) / tokens, lines, tokens, kernels::kKvGroup},
                            at::kBFloat16);
    return store;
  }
  switch (precision) {
    case KvPrecision::f32:
      store.rows_GCE = at::empty({groups, capacity, width}, at::kFloat);
      break;
    case KvPrecision::f16:
      store.rows_GCE = at::empty({groups, capacity, width}, at::kHalf);
      break;
    case KvPrecision::int8: {
      int64_t padded = kernels::kv_row_width(kernels::KvType::int8, width);
      store.rows_GCE = at::empty({groups, capacity, padded}, at::kChar);
      store.scales_GCN = at::empty({groups, capacity, padded / kernels::kKvGroup}, at::kFloat);
    }
  }
  return store;
}

void store_kv(const Tensor& x_TGE, int64_t begin, const KvStore& store) {
  const Tensor &rows = store.rows_GCE, &tiles = store.tiles;
  int64_t tokens = x_TGE.size(0);
  kernels::KvType type = tiles.defined() ? kernels::KvType::bf16 : kv_type(rows.scalar_type());
  VLM_SHAPE(x_TGE, kAny, tiles.defined() ? tiles.size(0) : rows.size(0), kAny);
  VLM_CHECK(kernels::kv_row_width(type, x_TGE.size(2)) ==
                    (tiles.defined() ? tiles.size(2) * tiles.size(4) : rows.size(2)) &&
                begin + tokens <= store.capacity(),
            "{} behind {} rows into {}", describe(x_TGE), begin, describe(tiles.defined() ? tiles : rows));
  if (tokens == 0) return;
  Tensor x =
      x_TGE.stride(2) == 1 && x_TGE.scalar_type() == at::kFloat ? x_TGE : x_TGE.to(at::kFloat).contiguous();
  kernels::KvTarget to{};
  if (tiles.defined()) {
    to.data = tiles.data_ptr();
    to.strides[0] = tiles.stride(1), to.strides[1] = tiles.stride(0);
    to.tile = tiles.size(3), to.first = begin;
    kernels::store_kv(type, x.data_ptr<float>(), x.stride(0), x.stride(1), tokens, x.size(1), x.size(2), to);
    return;
  }
  auto offset = [&](const Tensor& tensor) {
    return static_cast<char*>(tensor.data_ptr()) +
           begin * tensor.stride(1) * static_cast<int64_t>(tensor.element_size());
  };
  to.data = offset(rows);
  to.strides[0] = rows.stride(1), to.strides[1] = rows.stride(0);
  if (store.scales_GCN.defined()) {
    to.scales = reinterpret_cast<float*>(offset(store.scales_GCN));
    to.scale_strides[0] = store.scales_GCN.stride(1), to.scale_strides[1] = store.scales_GCN.stride(0);
  }
  kernels::store_kv(type, x.data_ptr<float>(), x.stride(0), x.stride(1), tokens, x.size(1), x.size(2), to);
}

void copy_kv(const KvStore& source, int64_t from, const KvStore& target, int64_t to, int64_t count) {
  auto copy_rows = [&](const Tensor& source_rows, const Tensor& target_rows) {
    if (source_rows.defined()) target_rows.narrow(1, to, count).copy_(source_rows.narrow(1, from, count));
  };
  copy_rows(source.rows_GCE, target.rows_GCE);
  copy_rows(source.scales_GCN, target.scales_GCN);
  if (!source.tiles.defined()) return;
  int64_t tile = source.tiles.size(3);
  if (from == 0 && to == 0) {
    // What follows in the last tile is forgotten anyway.
    int64_t tiles = (count + tile - 1) / tile;
    target.tiles.narrow(1, 0, tiles).copy_(source.tiles.narrow(1, 0, tiles));
    return;
  }
  Tensor rows = at::arange(count, at::kLong);
  auto at_row = [&](int64_t first) -> std::vector<at::indexing::TensorIndex> {
    Tensor row = rows + first;
    return {at::indexing::Slice(), at::floor_divide(row, tile), at::remainder(row, tile)};
  };
  target.tiles.transpose(2, 3).index_put_(at_row(to), source.tiles.transpose(2, 3).index(at_row(from)));
}

}  // namespace vlm::ops
