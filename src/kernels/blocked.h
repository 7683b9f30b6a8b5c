// The loops around the micro-kernels of large products (after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication"): a panel of 16 columns of W, expanded to what the instruction set
// multiplies, stays in the first-level cache while row tiles of x stream past it from the second level.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/product.h"
#include "kernels/scratch.h"

namespace vlm::kernels {

// Where a micro-kernel adds up its tile of outputs.
struct Target {
  float* y;
  int64_t stride;
  bool is_first;            // nothing was added before: overwrite
  bool is_last;             // the end of the inputs: multiply by row_scales and add bias
  const float* row_scales;  // of the tile's columns; null: 1
  const float* bias;        // of the tile's columns; null: 0
  int64_t height;           // rows that count: a kernel may leave those beyond undone
};

// Of a micro-tile, `stride` bytes apart.
struct Panels {
  const uint8_t* first;
  int64_t stride;
};

// Kernel has
//   kTileHeight              rows of x in a micro-tile
//   kPanels                  panels of 16 columns in a micro-tile
//   input_count()            columns of x
//   step_count(), step_block()   the inputs in steps (of a group, of one), and how many of them to do at once
//   panel_bytes(steps)
//   expand(panel, tile, first_step, steps)                a panel of W from tile `tile`
//   multiply(panels, row_tile, first_step, steps, Target)  adds up a whole micro-tile
template <typename Kernel>
void multiply_blocked(const Kernel& kernel, const Product& product, int64_t out, const float* row_scales) {
  constexpr int64_t kHeight = Kernel::kTileHeight, kWidth = Kernel::kPanels * kTileRows;
  const int64_t column_tiles = (out + kWidth - 1) / kWidth;
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight;
  const int64_t steps = kernel.step_count(), step_block = std::min(kernel.step_block(), steps);
  const int64_t panel_bytes = (kernel.panel_bytes(step_block) + 63) / 64 * 64;
  const int64_t tile_bytes = panel_bytes * Kernel::kPanels;

  // Tasks of up to 8 panels' columns, at least eight a thread, so that none waits long for the last.
  const int64_t wanted = 8 * num_threads();
  const int64_t tiles = std::clamp<int64_t>(column_tiles / wanted, 1, 8 / Kernel::kPanels);
  const int64_t column_tasks = (column_tiles + tiles - 1) / tiles;
  const int64_t row_tasks = std::clamp<int64_t>(wanted / column_tasks, 1, (row_tiles + 7) / 8);
  constexpr int64_t kRowTilesAtOnce = (96 + kHeight - 1) / kHeight;
  // Panels of several blocks of steps lie in the second-level cache, so that a block of rows is added up to
  // its end, or nearly, before the next begins: its outputs lie far apart, and where a row is a power of two
  // wide they would drive each other out of the cache.
  constexpr int64_t kPanelMemory_bytes = 512 << 10;
  const int64_t step_blocks = std::max<int64_t>(kPanelMemory_bytes / (tiles * tile_bytes), 1);
  const int64_t kept_blocks = std::min(step_blocks, (steps + step_block - 1) / step_block);

  auto expand_tile = [&](uint8_t* memory, int64_t tile, int64_t step, int64_t count) {
    for (int64_t panel = 0; panel < Kernel::kPanels; ++panel, memory += panel_bytes)
      if (tile * kWidth + panel * kTileRows < out)
        kernel.expand(memory, tile * Kernel::kPanels + panel, step, count);
      else
        std::memset(memory, 0, static_cast<size_t>(panel_bytes));
  };
  auto multiply_tile = [&](const uint8_t* memory, int64_t row, int64_t tile, int64_t step, int64_t count) {
    const int64_t column = tile * kWidth, height = std::min(kHeight, product.rows - row * kHeight);
    Target target{product.y + row * kHeight * product.y_stride + column,
                  product.y_stride,
                  step == 0,
                  step + count == steps,
                  row_scales ? row_scales + column : nullptr,
                  product.bias ? product.bias + column : nullptr,
                  height};
    const int64_t width = std::min(kWidth, out - column);
    const Panels panels{memory, panel_bytes};
    // While the outputs are in the first-level cache.
    auto finish = [&] {
      if (target.is_last && product.has_function())
        apply_in_this_thread(product.function_of_sums(row * kHeight, column, height, width));
    };
    if (height == kHeight && width == kWidth) {
      kernel.multiply(panels, row, step, count, target);
      return finish();
    }
    // The edge goes through a whole tile of its own.
    alignas(64) float whole[kHeight * kWidth] = {};
    alignas(64) float scales[kWidth] = {}, bias[kWidth] = {};
    if (row_scales) std::copy_n(row_scales + column, width, scales);
    if (product.bias) std::copy_n(product.bias + column, width, bias);
    for (int64_t line = 0; line < height && step > 0; ++line)
      std::copy_n(target.y + line * target.stride, width, whole + line * kWidth);
    Target edge{whole, kWidth, target.is_first, target.is_last, row_scales ? scales : nullptr, bias, height};
    kernel.multiply(panels, row, step, count, edge);
    for (int64_t line = 0; line < height; ++line)
      std::copy_n(whole + line * kWidth, width, target.y + line * target.stride);
    finish();
  };

  const int64_t operations = 2 * product.rows * out * kernel.input_count();
  for_each_balanced(column_tasks * row_tasks, operations, [&](int64_t task) {
    static thread_local Scratch scratch;
    uint8_t* memory = scratch.get<uint8_t>(kept_blocks * tiles * tile_bytes);
    const int64_t first_column = task / row_tasks * tiles;
    const int64_t last_column = std::min(first_column + tiles, column_tiles);
    const int64_t first_row = row_tiles * (task % row_tasks) / row_tasks;
    const int64_t last_row = row_tiles * (task % row_tasks + 1) / row_tasks;

    for (int64_t begin = 0; begin < steps; begin += kept_blocks * step_block) {
      const int64_t end = std::min(begin + kept_blocks * step_block, steps);
      // Calls body(step, count, tile, its panels) for every block of steps and every tile.
      auto for_each_panel = [&](auto body) {
        uint8_t* panels = memory;
        for (int64_t step = begin; step < end; step += step_block)
          for (int64_t tile = first_column; tile < last_column; ++tile, panels += tile_bytes)
            body(step, std::min(step_block, end - step), tile, panels);
      };
      for_each_panel([&](int64_t step, int64_t count, int64_t tile, uint8_t* panels) {
        expand_tile(panels, tile, step, count);
      });
      for (int64_t block = first_row; block < last_row; block += kRowTilesAtOnce)
        for_each_panel([&](int64_t step, int64_t count, int64_t tile, const uint8_t* panels) {
          for (int64_t row = block; row < std::min(block + kRowTilesAtOnce, last_row); ++row)
            multiply_tile(panels, row, tile, step, count);
        });
    }
  });
}

}  // namespace vlm::kernels
