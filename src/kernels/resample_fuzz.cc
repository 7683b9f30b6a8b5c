// libFuzzer target: sums of weighted bytes and floats, bit for bit what plain loops give.
#include "kernels/fuzzing.h"
#include "kernels/resample_testing.h"

namespace vlm::kernels {
namespace {

struct Bytes {
  explicit Bytes(Choices& choices) : generator(static_cast<unsigned>(choices.below("bytes", 1 << 16)) + 1) {}
  std::vector<uint8_t> operator()(int64_t count) {
    std::vector<uint8_t> bytes(static_cast<size_t>(count));
    for (uint8_t& byte : bytes) byte = generator() % 5 == 0 ? 255 : static_cast<uint8_t>(generator() >> 8);
    return bytes;
  }
  std::minstd_rand generator;
};

ByteTaps choose_taps(Choices& choices, int64_t most) {
  const int64_t inputs = choices.size("inputs", most), outputs = choices.size("outputs", most);
  const int64_t width = std::min(inputs, choices.size("taps", 120));
  const int precision = static_cast<int>(1 + choices.below("precision", 24));
  const int32_t largest = choices.of("largest", {32767, 1 << 22, 32768, 1, 70000});
  std::minstd_rand generator(static_cast<unsigned>(choices.below("weights", 1 << 16)) + 1);
  ByteTaps taps = random_taps(inputs, outputs, width, precision, largest, generator);
  if (choices.flag("slice")) {
    const int64_t from = choices.below("from", outputs);
    taps = taps.slice(from, from + 1 + choices.below("sliced", outputs - from));
  }
  return taps;
}

// Every row in memory of its own, so that sanitizers see where it ends.
void fuzz_pixels(Choices& choices) {
  const ByteTaps taps = choose_taps(choices, 400);
  Bytes bytes(choices);
  const int64_t num_rows = choices.size("rows", 13);
  std::vector<std::vector<uint8_t>> rows;
  std::vector<Guarded<uint8_t>> results;
  std::vector<const uint8_t*> sources;
  std::vector<uint8_t*> targets;
  for (int64_t row = 0; row < num_rows; ++row) {
    rows.push_back(bytes(taps.end() * 3));
    results.emplace_back(1, taps.outputs() * 3, taps.outputs() * 3, row % 4);
  }
  for (const auto& row : rows) sources.push_back(row.data());
  for (auto& result : results) targets.push_back(result.data());
  resample_pixels(sources.data(), num_rows, taps, targets.data());
  for (int64_t row = 0; row < num_rows; ++row) {
    results[static_cast<size_t>(row)].check();
    for (int64_t at = 0; at < taps.outputs() * 3; ++at)
      expect_near(targets[static_cast<size_t>(row)][at],
                  exact(taps, at / 3, sources[static_cast<size_t>(row)] + at % 3, 3), 0.0, "byte", row, at);
  }
}

void fuzz_rows(Choices& choices) {
  const ByteTaps taps = choose_taps(choices, 100);
  Bytes bytes(choices);
  const int64_t length = choices.size("length", 400), idx = choices.below("output", taps.outputs());
  std::vector<std::vector<uint8_t>> rows;
  std::vector<const uint8_t*> sources;
  for (int64_t k = 0; k < taps.count[idx]; ++k) rows.push_back(bytes(length));
  for (const auto& row : rows) sources.push_back(row.data());
  Guarded<uint8_t> target(1, length, length, choices.below("shift", 4));
  resample_rows(sources.data(), taps, idx, target.data(), length);
  target.check();
  for (int64_t at = 0; at < length; ++at) {
    int64_t sum = 0;
    for (int64_t k = 0; k < taps.count[idx]; ++k)
      sum += int64_t{taps.weights[idx * taps.width + k]} * sources[k][at];
    expect_near(target.row(0)[at], byte_of(sum, taps.precision), 0.0, "byte", idx, at);
  }
}

void fuzz_floats(Choices& choices) {
  const ByteTaps places = choose_taps(choices, 200);
  const int64_t inputs = places.end(), outputs = places.outputs(), rows = choices.size("rows", 70);
  const Floats weights = filled(choices, outputs * places.width, 1e6f),
               x = filled(choices, rows * inputs, 1e6f);
  const FloatTaps taps{places.first.data(), places.count.data(), weights.data(), places.width, outputs};
  if (choices.flag("across")) {
    Guarded<float> target(rows, outputs, outputs, choices.below("y shift", 4));
    resample_floats(x.data(), rows, inputs, taps, target.data());
    target.check();
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t idx = 0; idx < outputs; ++idx)
        expect_near(target.row(row)[idx], exact(taps, idx, x.data() + row * inputs, 1), 0.0, "float", row,
                    idx);
  } else {  // the same numbers as a picture of `inputs` rows
    const int64_t idx = choices.below("output", outputs);
    Guarded<float> target(1, rows, rows, choices.below("y shift", 4));
    resample_float_rows(x.data(), rows, taps, idx, target.data());
    target.check();
    for (int64_t col = 0; col < rows; ++col)
      expect_near(target.row(0)[col], exact(taps, idx, x.data() + col, rows), 0.0, "float", idx, col);
  }
}

void fuzz(Choices& choices) {
  switch (choices.below("kernel", 3)) {
    case 0:
      fuzz_pixels(choices);
      break;
    case 1:
      fuzz_rows(choices);
      break;
    default:
      fuzz_floats(choices);
  }
}

}  // namespace
}  // namespace vlm::kernels

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::kernels::run_case(data, size, vlm::kernels::fuzz);
}
