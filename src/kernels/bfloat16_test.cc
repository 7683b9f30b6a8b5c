// What the arithmetic of bfloat16 pairs promises, where the machine has it.
#include "kernels/targets.h"
#include "kernels/testing.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bfloat16_test.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/bfloat16-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// 2^x of 16 numbers; false where there are no pairs.
bool Exp2OfPairs(const float* x, float* y) {
#if VLM_HAS_PAIRS
  if (!has_pairs()) return false;
  const Pair::Floats d;
  hn::StoreU(Pair::Exp2(hn::LoadU(d, x)), d, y);
  return true;
#else
  return x == y;  // never
#endif
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {
namespace {

HWY_EXPORT(Exp2OfPairs);

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Calls body(x, 2^x) for the numbers of `from`, 16 at a time.
template <typename Body>
void for_powers(std::vector<float> from, const Body& body) {
  from.resize((from.size() + 15) / 16 * 16);
  on_every_target([&] {
    for (size_t at = 0; at < from.size(); at += 16) {
      float y[16];
      if (!HWY_DYNAMIC_DISPATCH(Exp2OfPairs)(from.data() + at, y)) return;
      for (size_t lane = 0; lane < 16; ++lane) body(from[at + lane], y[lane]);
    }
  });
}

TEST(PairExp2, IsWithinItsBoundFromOneToTheLeastNormalNumber) {
  std::vector<float> from{0.0f, -0.0f, -0x1p-149f, -1e-30f, -0x1p-24f, -1.0f, -0.99999994f, -1.0000001f};
  for (int step = 0; step <= 126 * 4096; ++step) from.push_back(static_cast<float>(-step) / 4096);
  for_powers(from, [](float x, float y) {
    const double wanted = std::exp2(static_cast<double>(x));
    ASSERT_NEAR(y, wanted, 7.5e-5 * wanted) << x;
  });
}

TEST(PairExp2, FallsToZero) {
  std::vector<float> from{
      -126.5f, -149.0f, -150.0f, -151.5f, -1e3f, -1e30f, std::numeric_limits<float>::lowest()};
  for_powers(from, [](float x, float y) {
    ASSERT_GE(y, 0.0f) << x;
    ASSERT_LE(y, x < -126 ? 0x1p-126f : 1.0f) << x;
    if (x < -151) {
      ASSERT_EQ(y, 0.0f) << x;
    }
  });
  for_powers(std::vector<float>(16, -kInfinity), [](float, float y) { ASSERT_EQ(y, 0.0f); });
}

}  // namespace
}  // namespace vlm::kernels
#endif
