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

  // Tasks of up to 8 panels (half of a 512 KB second-level cache), at least four a thread, so that none waits
  // long for the last.
  const int64_t wanted = 4 * num_threads();
  const int64_t tiles = std::clamp<int64_t>(column_tiles / wanted, 1, 8 / Kernel::kPanels);
  const int64_t column_tasks = (column_tiles + tiles - 1) / tiles;
  const int64_t row_tasks = std::clamp<int64_t>(wanted / column_tasks, 1, (row_tiles + 7) / 8);
  constexpr int64_t kRowTilesAtOnce = (96 + kHeight - 1) / kHeight;

  const int64_t operations = 2 * product.rows * out * kernel.input_count();
  for_each_balanced(column_tasks * row_tasks, operations, [&](int64_t task) {
    static thread_local Scratch scratch;
    uint8_t* memory = scratch.get<uint8_t>(tiles * tile_bytes);
    const int64_t first_column = task / row_tasks * tiles;
    const int64_t last_column = std::min(first_column + tiles, column_tiles);
    const int64_t first_row = row_tiles * (task % row_tasks) / row_tasks;
    const int64_t last_row = row_tiles * (task % row_tasks + 1) / row_tasks;

    for (int64_t step = 0; step < steps; step += step_block) {
      const int64_t count = std::min(step_block, steps - step);
      for (int64_t tile = first_column; tile < last_column; ++tile)
        for (int64_t panel = 0; panel < Kernel::kPanels; ++panel) {
          uint8_t* to = memory + (tile - first_column) * tile_bytes + panel * panel_bytes;
          if (tile * kWidth + panel * kTileRows < out)
            kernel.expand(to, tile * Kernel::kPanels + panel, step, count);
          else
            std::memset(to, 0, static_cast<size_t>(panel_bytes));
        }
      for (int64_t row_block = first_row; row_block < last_row; row_block += kRowTilesAtOnce)
        for (int64_t tile = first_column; tile < last_column; ++tile)
          for (int64_t row = row_block; row < std::min(row_block + kRowTilesAtOnce, last_row); ++row) {
            const int64_t column = tile * kWidth;
            Target target{product.y + row * kHeight * product.y_stride + column,
                          product.y_stride,
                          step == 0,
                          step + count == steps,
                          row_scales ? row_scales + column : nullptr,
                          product.bias ? product.bias + column : nullptr};
            const int64_t height = std::min(kHeight, product.rows - row * kHeight);
            const int64_t width = std::min(kWidth, out - column);
            const Panels panels{memory + (tile - first_column) * tile_bytes, panel_bytes};
            if (height == kHeight && width == kWidth) {
              kernel.multiply(panels, row, step, count, target);
              continue;
            }
            // The edge goes through a whole tile of its own.
            alignas(64) float whole[kHeight * kWidth] = {};
            alignas(64) float scales[kWidth] = {}, bias[kWidth] = {};
            if (row_scales) std::copy_n(row_scales + column, width, scales);
            if (product.bias) std::copy_n(product.bias + column, width, bias);
            for (int64_t line = 0; line < height && step > 0; ++line)
              std::copy_n(target.y + line * target.stride, width, whole + line * kWidth);
            Target edge{whole, kWidth, target.is_first, target.is_last, row_scales ? scales : nullptr, bias};
            kernel.multiply(panels, row, step, count, edge);
            for (int64_t line = 0; line < height; ++line)
              std::copy_n(whole + line * kWidth, width, target.y + line * target.stride);
          }
    }
  });
}

}  // namespace vlm::kernels
