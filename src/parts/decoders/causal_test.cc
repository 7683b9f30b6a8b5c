#include "parts/decoders/causal.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include "weights/source.h"

namespace vlm {
namespace {

DecoderConfig small_config(const std::string& more = "") {
  return DecoderConfig::from(Json::parse(
      R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64,
          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "max_position_embeddings": 4096)" +
          more + "}",
      "config.json"));
}

// What the tensor library has allocated on this thread at most, in bytes.
class PeakBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t alloc_size, int64_t, int64_t, c10::Device) override {
    now_ += alloc_size;
    peak_ = std::max(peak_, now_);
  }
  void reportOutOfMemory(int64_t, int64_t, int64_t, c10::Device) override {}
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

class LongPrompt : public testing::Test {
 protected:
  Tensor prefill(const CausalDecoder& decoder, const Tensor& x_TD, bool all_rows, nn::KvCache& cache,
                 int64_t prefix = 0) const {
    nn::Packed packed = nn::Packed::single(x_TD.size(0), &cache);
    packed.spans.front().prefix = prefix;
    return decoder.prefill(x_TD, packed, all_rows);
  }
  // All at once.
  Tensor whole(const CausalDecoder& decoder, const Tensor& x_TD, int64_t prefix = 0) const {
    nn::KvCache cache;
    nn::Packed packed = nn::Packed::single(x_TD.size(0), &cache);
    packed.spans.front().prefix = prefix;
    return decoder.forward(x_TD, packed);
  }
  void expect_same(const Tensor& found, const Tensor& wanted) const {
    ASSERT_EQ(found.sizes(), wanted.sizes());
    EXPECT_LE((found - wanted).abs().max().item<double>(), 2e-5 * wanted.abs().max().item<double>());
  }

  at::NoGradGuard no_grad_;
  Weights weights_{random_source(3), {}};
};

TEST_F(LongPrompt, InPiecesIsTheWhole) {
  at::manual_seed(4);
  Tensor x_TD = at::randn({2500, 32});
  for (const char* more :
       {"", R"(, "sliding_window": 300, "model_type": "mistral")",
        R"(, "rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 1200)"}) {
    Weights weights(random_source(3), {});
    CausalDecoder decoder(small_config(more), weights);
    Tensor wanted = whole(decoder, x_TD);
    nn::KvCache cache, other;
    expect_same(prefill(decoder, x_TD, true, cache), wanted);
    EXPECT_EQ(cache.length(), 2500);
    expect_same(prefill(decoder, x_TD, false, other), wanted.slice(0, -1));
  }
}

// The first 1,500 tokens all see each other: they are one piece.
TEST_F(LongPrompt, KeepsItsPrefixTogether) {
  at::manual_seed(5);
  Tensor x_TD = at::randn({2800, 32});
  CausalDecoder decoder(small_config(), weights_);
  nn::KvCache cache;
  expect_same(prefill(decoder, x_TD, true, cache, 1500), whole(decoder, x_TD, 1500));
  nn::KvCache behind;  // what follows a prefix that is known runs in pieces, too
  prefill(decoder, x_TD.narrow(0, 0, 1500), false, behind, 1500);
  expect_same(prefill(decoder, x_TD.slice(0, 1500), true, behind, 1500),
              whole(decoder, x_TD, 1500).slice(0, 1500));
}

// Besides the cache and the rotations (two rows of 4 floats for each token), nothing grows with the prompt.
TEST_F(LongPrompt, TakesMemoryForItsCacheAlone) {
  CausalDecoder decoder(small_config(), weights_);
  auto peak = [&](int64_t tokens, int64_t& cache_bytes) {
    Tensor x_TD = at::ones({tokens, 32});
    auto bytes = std::make_shared<PeakBytes>();
    c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, bytes);
    nn::KvCache cache;
    cache.reserve(tokens);
    prefill(decoder, x_TD, false, cache);
    cache_bytes = cache.bytes();
    return bytes->peak();
  };
  int64_t short_cache, long_cache;
  int64_t short_peak = peak(4096, short_cache), long_peak = peak(16384, long_cache);
  EXPECT_EQ(long_cache, 4 * short_cache);
  int64_t positions_bytes = (16384 - 4096) * (8 + 4 + 4 * 4 * 4);
  EXPECT_LE(long_peak - short_peak, long_cache - short_cache + positions_bytes);
}

}  // namespace
}  // namespace vlm
