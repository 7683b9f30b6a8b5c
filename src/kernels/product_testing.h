// For the tests of products: quantised matrices that own their memory.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/floats.h"
#include "kernels/quantised.h"

namespace vlm::kernels {

struct Memory {
  explicit Memory(QuantisedMatrix matrix) : view(matrix), row_scales(view.padded_out()) {
    blocks.reset(static_cast<uint8_t*>(
        std::aligned_alloc(64, static_cast<size_t>((view.blocks_bytes() + 63) / 64 * 64))));
    view.blocks = blocks.get();
    view.row_scales = row_scales.data();
  }
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  QuantisedMatrix view;
  Floats row_scales;
  std::unique_ptr<uint8_t, Free> blocks;
};

inline Memory quantised(const Floats& weights, int bits, int64_t out, int64_t in, bool is_rotated = false) {
  Memory memory({bits, bits == 4, out, in, nullptr, nullptr, is_rotated});
  quantise(weights.data(), Float::f32, in, memory.view);
  return memory;
}

inline Memory packed(const std::vector<int8_t>& quants, bool has_minimums, int bits, int64_t out, int64_t in,
                     float scale, float minimum) {
  Memory memory({bits, has_minimums, out, in, nullptr, nullptr});
  const int64_t groups = memory.view.groups();
  std::vector<float> scales(static_cast<size_t>(out * groups), scale), minimums(scales.size(), minimum);
  pack_groups(quants.data(), scales.data(), has_minimums ? minimums.data() : nullptr, groups, memory.view);
  return memory;
}

}  // namespace vlm::kernels
