// libFuzzer target: attention over caches of every precision against softmax in plain loops.
#include <memory>

#include "kernels/attention_testing.h"
#include "kernels/fuzzing.h"

namespace vlm::kernels {
namespace {

// Scores beyond this have no digits left behind the point.
constexpr double kMostScore = 1e6;

RowLayout choose_layout(Choices& choices) {
  return {choices.flag("by head"), choices.below("gap", 4), choices.below("shift", 4)};
}

// Minus infinity hides a key, as in the masks that callers add.
void hide_some(Choices& choices, Floats& bias) {
  std::minstd_rand generator(static_cast<unsigned>(choices.below("hidden", 1 << 16)) + 1);
  for (int64_t idx = 0; idx < bias.size(); ++idx)
    if (generator() % 4 == 0) bias[idx] = -INFINITY;
}

// The features of one row, and by how much float32 may miss each. Not bounded: scores are so large that their
// errors decide which key is the largest, and only that the features lie among the values is claimed.
struct Expected {
  std::vector<double> values;
  std::vector<double> bounds;
  double largest_value = 0;
  bool is_bounded = true;
};

Expected expected(const Attention& args, const Kept& k, const Kept& v, int64_t batch, int64_t query,
                  int64_t head) {
  std::vector<double> errors;
  const std::vector<double> scores = exact_scores(args, k, batch, query, head, &errors);
  Expected result{std::vector<double>(static_cast<size_t>(args.value_width)), {}};
  result.bounds = result.values;
  double largest = -INFINITY, total = 0, missed = 0;
  for (double score : scores) largest = std::max(largest, score);
  if (std::isinf(largest)) return result;

  const double keys = static_cast<double>(args.keys);
  // A weight is 2^x within 5e-7, and it is multiplied by another one whenever a block of keys, or a part of
  // them, holds a larger score than all before.
  const double powers = 5e-7 * (keys / 32 + 3);
  const int64_t group = head / (args.heads / args.groups);
  std::vector<double> magnitudes(result.values.size()), misses(result.values.size());
  for (int64_t key = 0; key < args.keys; ++key) {
    const double score = scores[static_cast<size_t>(key)];
    if (std::isinf(score)) continue;
    const double weight = std::exp(score - largest);
    // The score's own error; it and its distance from the largest are rounded when they become powers of two.
    const double error =
        errors[static_cast<size_t>(key)] + kUnit * (2 * std::fabs(score) + 5 * (largest - score)) + powers;
    const double miss = std::exp(std::min(score - largest + error, 1.0)) - weight;
    total += weight;
    missed += miss;
    for (int64_t idx = 0; idx < args.value_width; ++idx) {
      const double value = v.at(batch, key, group)[idx];
      const size_t at = static_cast<size_t>(idx);
      result.values[at] += weight * value;
      magnitudes[at] += weight * std::fabs(value);
      misses[at] += miss * std::fabs(value);
      result.largest_value = std::max(result.largest_value, std::fabs(value));
    }
  }
  result.is_bounded = missed < 0.05 * total;
  // Sums of weights have one rounding for each key; those of values, which come in blocks of up to 64 keys,
  // one for each of a block and each block; and a few for the quotient.
  const double roundings = (keys + 8) + (64 + keys / 32 + 12);
  const double of_magnitudes = roundings * kUnit + rounding_of_products(args);
  // With bfloat16, values and products below the least normal number are 0; and so are weights times the
  // scales of int8, which its numbers are multiplied by.
  const double of_bfloat16 = args.kv_type == KvType::int8 ? 128 * 0x1p-126 : 2 * 0x1p-126;
  const double least = args.may_round ? of_bfloat16 : kLeast;
  for (size_t at = 0; at < result.values.size(); ++at) {
    result.values[at] /= total;
    result.bounds[at] = 1.1 * (misses[at] + missed * std::fabs(result.values[at])) / total +
                        of_magnitudes * magnitudes[at] / total +
                        keys * (0x1p-126 * result.largest_value + least);
  }
  return result;
}

void check(const Attention& args, const Kept& k, const Kept& v, const float* y) {
  for (int64_t batch = 0; batch < args.batch; ++batch)
    for (int64_t query = 0; query < args.queries; ++query)
      for (int64_t head = 0; head < args.heads; ++head) {
        const Expected wanted = expected(args, k, v, batch, query, head);
        const int64_t row = (batch * args.queries + query) * args.heads + head;
        for (int64_t idx = 0; idx < args.value_width; ++idx) {
          const size_t at = static_cast<size_t>(idx);
          const float got = y[row * args.value_width + idx];
          if (wanted.is_bounded)
            expect_near(got, wanted.values[at], wanted.bounds[at], "y", row, idx);
          else  // which key is the largest is open, but never what lies between the values
            expect_near(got, 0.0, wanted.largest_value * (1 + 1e-4 + rounding_of_products(args)), "y", row,
                        idx);
        }
      }
}

void fuzz(Choices& choices) {
  Attention args{};
  args.kv_type = choices.of("type", {KvType::f32, KvType::f16, KvType::int8, KvType::bf16});
  args.batch = 1 + choices.below("batch", 2);
  args.groups = 1 + choices.below("groups", 3);
  const int64_t repeat = choices.size("heads of a group", 20);
  args.heads = args.groups * repeat;
  args.queries = choices.flag("few queries") ? 1 + choices.below("queries", kMostQueriesOfFew)
                                             : choices.size("queries", 130);
  args.width = choices.size("width", 160);
  args.value_width = choices.flag("own value width") ? choices.size("value width", 160) : args.width;
  args.keys = choices.size("keys", 1300);
  const int64_t rows = args.batch * args.heads * args.queries;
  const int64_t operations = choices.of("operations", {1 << 14, 1 << 16, 1 << 19});
  args.keys = std::clamp<int64_t>(operations / (rows * (args.width + args.value_width)), 1, args.keys);
  choices.note("keys cut to", args.keys);
  args.is_causal = choices.flag("causal");
  args.window = choices.flag("window") ? choices.size("keys of the window", args.keys) : 0;
  args.prefix = choices.flag("prefix") ? choices.size("keys of the prefix", args.keys + 5) : 0;
  args.softcap = choices.of("softcap", {0.0f, 2.5f, 50.0f});

  // Queries with gaps, heads before tokens or the other way round.
  const bool is_by_head = choices.flag("queries by head");
  const int64_t q_row = args.width + choices.below("q gap", 4);
  args.q_strides[0] = args.queries * args.heads * q_row;
  args.q_strides[1] = is_by_head ? q_row : args.heads * q_row;
  args.q_strides[2] = is_by_head ? args.queries * q_row : q_row;
  Floats q = filled(choices, args.batch * args.q_strides[0] - (q_row - args.width), 1e3f);
  args.q = q.data();
  const float most = args.kv_type == KvType::f16 ? 6e4f : 1e6f;
  const Floats k_from = filled(choices, args.batch * args.keys * args.groups * args.width, 1e3f);
  const Floats v_from = filled(choices, args.batch * args.keys * args.groups * args.value_width, most);
  const Kept k(args.kv_type, args.batch, args.keys, args.groups, args.width, k_from.data(),
               choose_layout(choices));
  const Kept v(args.kv_type, args.batch, args.keys, args.groups, args.value_width, v_from.data(),
               choose_layout(choices), kValueTile);
  args.k = k.rows, args.v = v.rows;

  Floats slopes = filled(choices, choices.flag("slopes") ? args.heads : 0, 10.0f);
  if (slopes.size() > 0) args.alibi_slopes = slopes.data();
  auto mask = std::make_unique<bool[]>(static_cast<size_t>(args.batch * args.keys));
  if (choices.flag("mask of keys")) {
    std::minstd_rand generator(static_cast<unsigned>(choices.below("masked", 1 << 16)) + 1);
    const unsigned one_in = choices.of("one in", {2u, 5u, 1u});  // 1: nobody sees anything
    for (int64_t idx = 0; idx < args.batch * args.keys; ++idx)
      mask[static_cast<size_t>(idx)] = generator() % one_in != 0;
    args.key_mask = mask.get();
  }
  // A bias is shared by batches, heads or queries where its stride is none.
  const bool is_of_batch = choices.flag("bias of batch"), is_of_head = choices.flag("bias of head"),
             is_of_query = choices.flag("bias of query");
  const int64_t bias_row = args.keys + choices.below("bias gap", 3);
  args.bias_strides[2] = is_of_query ? bias_row : 0;
  args.bias_strides[1] = is_of_head ? (is_of_query ? args.queries : 1) * bias_row : 0;
  args.bias_strides[0] =
      is_of_batch ? (is_of_head ? args.heads : 1) * (is_of_query ? args.queries : 1) * bias_row : 0;
  Floats bias = filled(choices,
                       choices.flag("bias") ? (is_of_batch ? args.batch : 1) * (is_of_head ? args.heads : 1) *
                                                      (is_of_query ? args.queries : 1) * bias_row -
                                                  (bias_row - args.keys)
                                            : 0,
                       1e3f);
  if (bias.size() > 0) {
    if (choices.flag("hide")) hide_some(choices, bias);
    args.bias = bias.data();
  }

  args.scale = choices.of("scale", {1.0f / std::sqrt(static_cast<float>(args.width)), 1.0f, 0.0f, -0.5f});
  double most_q = 0, most_k = 0;
  for (int64_t idx = 0; idx < q.size(); ++idx) most_q = std::max<double>(most_q, std::fabs(q[idx]));
  for (double value : k.values) most_k = std::max(most_k, std::fabs(value));
  const double most_score = most_q * most_k * static_cast<double>(args.width) * std::fabs(args.scale);
  if (most_score > kMostScore) args.scale *= static_cast<float>(kMostScore / most_score);

  Guarded<float> y(rows, args.value_width, args.value_width, choices.below("y shift", 4));
  args.y = y.data();
  const bool can_be_few = args.queries <= kMostQueriesOfFew && repeat * args.queries <= kMostRowsOfFew &&
                          kv_row_width(args.kv_type, args.width) >= kLeastWidthOfFew &&
                          kv_row_width(args.kv_type, args.value_width) >= kLeastWidthOfFew;
  const int64_t way = choices.below("way", 3);
  args.may_round = choices.flag("may round");
  if (way == 0)
    attention(args);
  else if (way == 1 && can_be_few)
    attention_few_rows(args);
  else
    attention_many_rows(args);
  y.check();
  check(args, k, v, y.data());
}

}  // namespace
}  // namespace vlm::kernels

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::kernels::run_case(data, size, vlm::kernels::fuzz);
}
