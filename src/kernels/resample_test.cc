// Bit for bit what plain loops give, on every instruction set.
#include "kernels/resample_testing.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

std::vector<uint8_t> random_bytes(int64_t count, std::mt19937& generator) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (uint8_t& byte : bytes) byte = generator() % 5 == 0 ? 255 : static_cast<uint8_t>(generator());
  return bytes;
}

struct Scale {
  int64_t inputs, outputs, width;
  int precision;
  int32_t largest;
};

// Pillow's precision and torch's, weights on both sides of 16 bits, one pixel, odd sizes, more taps than a
// vector.
const std::vector<Scale> kScales = {
    {1, 1, 1, 22, 1 << 22},     {1, 9, 1, 14, 32767},       {2, 3, 2, 22, 1 << 21},
    {3, 2, 3, 22, 70000},       {5, 17, 4, 15, 32767},      {7, 4, 5, 22, 1 << 22},
    {16, 16, 7, 22, 1 << 20},   {31, 8, 8, 22, 1 << 19},    {33, 64, 6, 12, 5000},
    {65, 5, 36, 22, 600000},    {101, 33, 17, 22, 32768},   {129, 7, 100, 22, 90000},
    {257, 300, 9, 22, 1 << 22}, {1000, 77, 53, 22, 300000}, {1001, 2, 900, 22, 9000},
};

TEST(Resample, PixelsBitForBit) {
  on_every_target([] {
    std::mt19937 generator(1);
    for (const Scale& scale : kScales)
      for (int64_t num_rows : {1, 2, 3, 4, 5, 9}) {
        const ByteTaps taps =
            random_taps(scale.inputs, scale.outputs, scale.width, scale.precision, scale.largest, generator);
        const int64_t in_bytes = scale.inputs * 3, out_bytes = scale.outputs * 3;
        std::vector<std::vector<uint8_t>> rows, results;  // apart, so that sanitizers see their ends
        std::vector<const uint8_t*> sources;
        std::vector<uint8_t*> targets;
        for (int64_t r = 0; r < num_rows; ++r) rows.push_back(random_bytes(in_bytes, generator));
        for (int64_t r = 0; r < num_rows; ++r) results.emplace_back(static_cast<size_t>(out_bytes));
        for (const auto& row : rows) sources.push_back(row.data());
        for (auto& result : results) targets.push_back(result.data());
        resample_pixels(sources.data(), num_rows, taps, targets.data());
        for (int64_t r = 0; r < num_rows; ++r)
          for (int64_t at = 0; at < out_bytes; ++at) {
            ASSERT_EQ(targets[r][at], exact(taps, at / 3, sources[r] + at % 3, 3))
                << scale.inputs << " to " << scale.outputs << ", row " << r << ", byte " << at;
          }
      }
  });
}

TEST(Resample, RowsBitForBit) {
  on_every_target([] {
    std::mt19937 generator(2);
    for (const Scale& scale : kScales)
      for (int64_t length : {1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 300}) {
        const ByteTaps taps =
            random_taps(scale.inputs, scale.outputs, scale.width, scale.precision, scale.largest, generator);
        std::vector<std::vector<uint8_t>> rows;
        std::vector<const uint8_t*> sources;
        for (int64_t r = 0; r < scale.inputs; ++r) rows.push_back(random_bytes(length, generator));
        for (const auto& row : rows) sources.push_back(row.data());
        std::vector<uint8_t> result(static_cast<size_t>(length));
        for (int64_t idx = 0; idx < std::min<int64_t>(4, scale.outputs); ++idx) {
          resample_rows(sources.data() + taps.first[idx], taps, idx, result.data(), length);
          for (int64_t at = 0; at < length; ++at) {
            int64_t sum = 0;
            for (int64_t k = 0; k < taps.count[idx]; ++k)
              sum += int64_t{taps.weights[idx * taps.width + k]} * sources[taps.first[idx] + k][at];
            ASSERT_EQ(result[at], byte_of(sum, taps.precision))
                << scale.inputs << ", byte " << at << " of " << length;
          }
        }
      }
  });
}

TEST(Resample, FloatsBitForBit) {
  on_every_target([] {
    std::mt19937 generator(3);
    for (const Scale& scale : kScales)
      for (int64_t rows : {1, 2, 15, 16, 17, 35}) {
        const ByteTaps places = random_taps(scale.inputs, scale.outputs, scale.width, 22, 10, generator);
        const Floats weights = Floats::random(scale.outputs * scale.width, 4),
                     x = Floats::random(rows * scale.inputs, 5);
        const FloatTaps taps{places.first.data(), places.count.data(), weights.data(), scale.width,
                             scale.outputs};
        Floats across(rows * scale.outputs);
        resample_floats(x.data(), rows, scale.inputs, taps, across.data());
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t i = 0; i < scale.outputs; ++i)
            ASSERT_EQ(across[row * scale.outputs + i], exact(taps, i, x.data() + row * scale.inputs, 1))
                << scale.inputs << ", row " << row << ", output " << i;
        // The same numbers as a picture of `inputs` rows.
        Floats down(rows);
        resample_float_rows(x.data(), rows, taps, 0, down.data());
        for (int64_t col = 0; col < rows; ++col)
          ASSERT_EQ(down[col], exact(taps, 0, x.data() + col, rows)) << scale.inputs << ", column " << col;
      }
  });
}

}  // namespace
}  // namespace vlm::kernels
