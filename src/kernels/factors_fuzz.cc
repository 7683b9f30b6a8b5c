// libFuzzer target: what training multiplies, products either way round and the gradients of attention,
// against plain loops.
#include "base/half.h"
#include "kernels/attention_gradient_testing.h"
#include "kernels/factors.h"
#include "kernels/fuzzing.h"

namespace vlm::kernels {
namespace {

constexpr int64_t kMostOperations = 1 << 19;

struct Numbers {
  Numbers(Choices& choices, int64_t rows, int64_t in, bool rounds)
      : is_transposed(choices.flag("transposed")),
        stride((is_transposed ? rows : in) + choices.below("gap", 4)),
        floats(filled(choices, ((is_transposed ? in : rows) - 1) * stride + (is_transposed ? rows : in),
                      1e15f, true)) {
    factor = {floats.data(), stride, is_transposed};
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t idx = 0; idx < in; ++idx) {
        const float value = is_transposed ? floats[idx * stride + row] : floats[row * stride + idx];
        // What is below the least normal number is 0 then.
        plain.push_back(!rounds                        ? value
                        : std::fabs(value) < 0x1p-126f ? 0.0f
                                                       : bf16_to_float(float_to_bf16(value)));
      }
  }
  bool is_transposed;
  int64_t stride;
  Floats floats;
  Factor factor;
  std::vector<float> plain;  // [rows, in]
};

void fuzz_factors(Choices& choices) {
  const bool rounds = choices.flag("rounds") && multiplies_pairs();
  const int64_t rows = choices.size("rows", 130), out = choices.size("outputs", 300);
  const int64_t in =
      std::min(choices.size("inputs", 1400), std::max<int64_t>(kMostOperations / (rows * out), 1));
  const Numbers a(choices, rows, in, rounds), b(choices, out, in, rounds);
  const Floats bias = filled(choices, choices.flag("bias") ? out : 0, 1e15f);
  const int64_t y_stride = out + choices.below("y gap", 4);
  Guarded<float> y(rows, out, y_stride, choices.below("y shift", 4));
  multiply_factors({a.factor, b.factor, y.data(), y_stride, rows, out, in,
                    bias.size() > 0 ? bias.data() : nullptr, rounds});
  y.check();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < out; ++col) {
      double sum = bias.size() > 0 ? bias[col] : 0.0, magnitude = std::fabs(sum);
      for (int64_t idx = 0; idx < in; ++idx) {
        const double term = static_cast<double>(a.plain[static_cast<size_t>(row * in + idx)]) *
                            b.plain[static_cast<size_t>(col * in + idx)];
        sum += term;
        if (std::isfinite(term)) magnitude += std::fabs(term);
      }
      // Each term is rounded, and so is every sum it enters: at most one for each term and the bias.
      const double least = rounds ? 0x1p-126 : kLeast;
      expect_near(y.row(row)[col], sum, static_cast<double>(in + 2) * (kUnit * magnitude + least), "y", row,
                  col);
    }
}

void fuzz_attention(Choices& choices) {
  AttentionGradient args{};
  args.rounds = choices.flag("rounds") && multiplies_pairs();
  args.batch = 1 + choices.below("batch", 2), args.groups = 1 + choices.below("groups", 3);
  args.heads = args.groups * (1 + choices.below("heads of a group", 3));
  args.queries = choices.size("queries", 300), args.width = choices.size("width", 90);
  args.value_width = choices.flag("own value width") ? choices.size("value width", 90) : args.width;
  const int64_t pairs = kMostOperations / (args.batch * args.heads * (args.width + args.value_width));
  args.queries = std::clamp<int64_t>(pairs / 4, 1, args.queries);
  args.keys = std::clamp<int64_t>(pairs / args.queries, 1, choices.size("keys", 1300));
  args.scale = choices.of("scale", {0.01f, 0.125f, 1.0f});
  args.is_causal = choices.flag("causal");
  args.window = choices.flag("window") ? choices.size("keys of the window", args.keys) : 0;
  args.prefix = choices.flag("prefix") ? choices.size("keys of the prefix", args.keys + 5) : 0;
  std::unique_ptr<bool[]> mask(new bool[static_cast<size_t>(args.batch * args.keys)]);
  if (choices.flag("mask")) {
    std::minstd_rand generator(static_cast<unsigned>(choices.below("hidden", 1 << 16)) + 1);
    for (int64_t key = 0; key < args.batch * args.keys; ++key)
      mask[static_cast<size_t>(key)] = generator() % 3 != 0;
    args.key_mask = mask.get();
  }
  GradientCase made(args, static_cast<unsigned>(choices.below("seed", 1 << 16)));
  attention_gradient(made.args);
  const GradientCase::Wanted wanted = made.wanted();
  // Gradients of scores are small differences of what may be as large as the width; scores of deviation
  // scale * sqrt(width) have errors that exp() makes relative.
  const double relative = args.rounds ? 0x1p-8 : 64 * kUnit;
  const double slope = 16 * relative * args.scale * static_cast<double>(args.width + args.value_width);
  const double size = std::max(args.queries, args.keys);
  auto check = [&](const Floats& found, const std::vector<double>& all, const char* what, double bound) {
    const double slack = bound + 4 * relative * largest_of(all);
    for (int64_t idx = 0; idx < found.size(); ++idx)
      expect_near(found[idx], all[static_cast<size_t>(idx)], slack, what, idx, 0);
  };
  check(made.dq, wanted.dq, "dq", slope);
  check(made.dk, wanted.dk, "dk", slope * std::sqrt(size));
  check(made.dv, wanted.dv, "dv", 16 * relative * (1 + args.scale * std::sqrt(args.width)) * std::sqrt(size));
}

void fuzz(Choices& choices) {
  if (choices.flag("attention"))
    fuzz_attention(choices);
  else
    fuzz_factors(choices);
}

}  // namespace
}  // namespace vlm::kernels

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::kernels::run_case(data, size, vlm::kernels::fuzz);
}
