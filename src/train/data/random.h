// Random numbers that are the same on every machine and with every standard library: data made from a seed
// can be made again.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlm::data {

inline uint64_t mix_bits(uint64_t value) {  // the finaliser of SplitMix64
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

inline uint64_t hash_text(std::string_view text) {  // FNV-1a, then mixed
  uint64_t hash = 0xCBF29CE484222325U;
  for (char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
  return mix_bits(hash);
}

class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(mix_bits(seed + 0x9E3779B97F4A7C15U)) {}

  uint64_t next() { return mix_bits(state_ += 0x9E3779B97F4A7C15U); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  int64_t below(int64_t count) { return static_cast<int64_t>(next() % static_cast<uint64_t>(count)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }  // both included
  bool chance(double probability) { return uniform() < probability; }

  template <typename Container>
  const auto& pick(const Container& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(std::size(values))))];
  }
  // An index, with probability proportional to its weight.
  template <typename Container>
  int64_t weighted(const Container& weights) {
    double total = 0;
    for (double weight : weights) total += weight;
    double left = uniform() * total;
    int64_t last = 0, index = 0;
    for (double weight : weights) {
      if (weight > 0) {
        last = index;
        if (left < weight) return index;
        left -= weight;
      }
      ++index;
    }
    return last;
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<size_t>(below(static_cast<int64_t>(i)))]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace vlm::data
