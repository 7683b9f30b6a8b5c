#include "tensor/blas_core.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/parallel.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"

namespace vlm {
namespace {

constexpr VectorFeatures kNone, kAvx2{true, false}, kAvx512{true, true};

std::string better(std::string_view chosen, const VectorFeatures& features) {
  const char* core = better_blas_core(chosen, features);
  return core ? core : "";
}

TEST(BetterBlasCore, ReplacesCoresWithoutAvx) {
  for (const char* chosen : {"Prescott", "Core2", "Nehalem", "Atom", "Barcelona", "Unknown"}) {
    EXPECT_EQ(better(chosen, kNone), "") << chosen;
    EXPECT_EQ(better(chosen, kAvx2), "Haswell") << chosen;
    EXPECT_EQ(better(chosen, kAvx512), "SkylakeX") << chosen;
  }
}

TEST(BetterBlasCore, KeepsTheOthers) {
  for (const char* chosen :
       {"Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids", "armv8"})
    EXPECT_EQ(better(chosen, kAvx512), "") << chosen;
}

template <typename Function>
Function* of_openblas(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

std::string core() {
  return of_openblas<const char*()>("openblas_get_corename")();
}

void let_openblas_take(const char* name) {
  ::setenv("OPENBLAS_CORETYPE", name, 1);
  of_openblas<void()>("gotoblas_dynamic_quit")();
  of_openblas<void()>("gotoblas_dynamic_init")();
}

// Each body runs in a process of its own that has one thread.
class UseBetterBlasCore : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!of_openblas<void()>("gotoblas_dynamic_init")) GTEST_SKIP() << "no OpenBLAS that chooses";
    if (!vector_features().has_avx2) GTEST_SKIP() << "no AVX2";
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "the sanitizer has a thread of its own";
#endif
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  const std::string best_ = vector_features().has_avx512 ? "SkylakeX" : "Haswell";
};

void expect_in_child(bool holds) {
  std::fprintf(stderr, "core %s\n", core().c_str());
  std::_Exit(holds ? 0 : 1);
}

TEST_F(UseBetterBlasCore, HappensWhenTheLibraryIsLoaded) {
  if (std::getenv("OPENBLAS_CORETYPE")) GTEST_SKIP() << "the user chose";
  EXPECT_EQ(better(core(), vector_features()), "");
}

TEST_F(UseBetterBlasCore, TakesTheBestAndLeavesTheEnvironment) {
  EXPECT_EXIT(
      {
        let_openblas_take("Prescott");
        ::unsetenv("OPENBLAS_CORETYPE");
        bool changed = use_better_blas_core();
        expect_in_child(changed && core() == best_ && !std::getenv("OPENBLAS_CORETYPE") &&
                        !use_better_blas_core());
      },
      ::testing::ExitedWithCode(0), "core");
}

TEST_F(UseBetterBlasCore, LeavesWhatTheUserChose) {
  EXPECT_EXIT(
      {
        let_openblas_take("Prescott");
        expect_in_child(!use_better_blas_core() && core() == "Prescott");
      },
      ::testing::ExitedWithCode(0), "core");
}

TEST_F(UseBetterBlasCore, LeavesAProcessOfSeveralThreads) {
  EXPECT_EXIT(
      {
        let_openblas_take("Prescott");
        ::unsetenv("OPENBLAS_CORETYPE");
        bool changed = true;
        std::thread([&] { changed = use_better_blas_core(); }).join();
        expect_in_child(!changed && core() == "Prescott");
      },
      ::testing::ExitedWithCode(0), "core");
}

// The largest difference from sums in double precision.
double error_of_product(const Tensor& a_MK, const Tensor& b_KN) {
  Tensor product_MN = at::mm(a_MK, b_KN).to(at::kDouble).contiguous();
  Tensor a_rows = a_MK.to(at::kDouble).contiguous(), b_columns = b_KN.t().to(at::kDouble).contiguous();
  const double* a = a_rows.data_ptr<double>();
  const double* b = b_columns.data_ptr<double>();
  const double* got = product_MN.data_ptr<double>();
  int64_t rows = a_MK.size(0), inner = a_MK.size(1), columns = b_KN.size(1);
  double largest = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double sum = 0;
      for (int64_t idx = 0; idx < inner; ++idx) sum += a[row * inner + idx] * b[column * inner + idx];
      largest = std::max(largest, std::abs(got[row * columns + column] - sum));
    }
  return largest;
}

TEST(BlasCore, MultipliesAsPlainLoopsDo) {
  // Around the tiles (8 x 4 and 16 x 4) and the blocks (384 and 448 inner, 448 and 768 rows) of the two
  // cores.
  const int64_t sizes[][3] = {{1, 1, 1},     {1, 300, 40},   {3, 5, 7},       {8, 8, 4},      {15, 17, 5},
                              {16, 64, 4},   {17, 65, 33},   {31, 383, 63},   {64, 384, 64},  {100, 385, 48},
                              {447, 447, 9}, {448, 448, 16}, {449, 449, 130}, {769, 897, 12}, {40, 31, 1030}};
  int before = num_threads();
  at::manual_seed(7);
  for (int threads : {1, 2}) {
    set_num_threads(threads);
    share_threads();
    for (auto [rows, inner, columns] : sizes)
      for (at::ScalarType type : {at::kFloat, at::kDouble}) {
        Tensor a_MK = at::rand({rows, inner}, type) - 0.5, a_KM = at::rand({inner, rows}, type) - 0.5;
        Tensor b_KN = at::rand({inner, columns}, type) - 0.5, b_NK = at::rand({columns, inner}, type) - 0.5;
        // Of terms below 1/4 each; a wrong index is off by about sqrt(inner) / 12.
        double bound = (type == at::kFloat ? 1.2e-7 : 2.3e-16) * static_cast<double>(inner + 1) / 4;
        auto where =
            fmt::format("{} x {} x {}, {} threads, {}", rows, inner, columns, threads, dtype_name(type));
        EXPECT_LE(error_of_product(a_MK, b_KN), bound) << where;
        EXPECT_LE(error_of_product(a_MK, b_NK.t()), bound) << where;
        EXPECT_LE(error_of_product(a_KM.t(), b_KN), bound) << where;
      }
  }
  set_num_threads(before);
  share_threads();
}

}  // namespace
}  // namespace vlm
