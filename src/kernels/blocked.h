// The loops around the micro-kernels of large products (after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication"): a panel of 16 columns of W, expanded to what the instruction set
// multiplies, stays in the first-level cache while row tiles of x stream past it from the second level.
#pragma once

#include <algorithm>

#include "kernels/product.h"
#include "kernels/scratch.h"

namespace vlm::kernels {

// Where a micro-kernel adds up its tile of outputs.
struct Target {
  float* y;
  int64_t stride;
  bool is_first;            // nothing was added before: overwrite
  bool is_last;             // the end of the inputs: multiply by row_scales and add bias
  const float* row_scales;  // of 16 columns; null: 1
  const float* bias;        // of 16 columns; null: 0
};

// Kernel has
//   kTileHeight              rows of x in a micro-tile
//   input_count()            columns of x
//   step_count(), step_block()   the inputs in steps (of a group, of one), and how many of them to do at once
//   panel_bytes(steps)
//   expand(panel, tile, first_step, steps)              a panel of W from tile `tile`
//   multiply(panel, row_tile, first_step, steps, Target)  adds up a whole micro-tile
template <typename Kernel>
void multiply_blocked(const Kernel& kernel, const Product& product, int64_t out, const float* row_scales) {
  constexpr int64_t kHeight = Kernel::kTileHeight;
  const int64_t column_tiles = (out + kTileRows - 1) / kTileRows;
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight;
  const int64_t steps = kernel.step_count(), step_block = std::min(kernel.step_block(), steps);
  const int64_t panel_bytes = (kernel.panel_bytes(step_block) + 63) / 64 * 64;

  // Tasks of up to 8 panels (half of a 512 KB second-level cache), at least four a thread, so that none waits
  // long for the last.
  const int64_t wanted = 4 * num_threads();
  const int64_t panels = std::clamp<int64_t>(column_tiles / wanted, 1, 8);
  const int64_t column_tasks = (column_tiles + panels - 1) / panels;
  const int64_t row_tasks = std::clamp<int64_t>(wanted / column_tasks, 1, (row_tiles + 7) / 8);
  constexpr int64_t kRowTilesAtOnce = (96 + kHeight - 1) / kHeight;

  const int64_t operations = 2 * product.rows * out * kernel.input_count();
  for_each_balanced(column_tasks * row_tasks, operations, [&](int64_t task) {
    static thread_local Scratch scratch;
    uint8_t* memory = scratch.get<uint8_t>(panels * panel_bytes);
    const int64_t first_column = task / row_tasks * panels;
    const int64_t last_column = std::min(first_column + panels, column_tiles);
    const int64_t first_row = row_tiles * (task % row_tasks) / row_tasks;
    const int64_t last_row = row_tiles * (task % row_tasks + 1) / row_tasks;

    for (int64_t step = 0; step < steps; step += step_block) {
      const int64_t count = std::min(step_block, steps - step);
      for (int64_t tile = first_column; tile < last_column; ++tile)
        kernel.expand(memory + (tile - first_column) * panel_bytes, tile, step, count);
      for (int64_t row_block = first_row; row_block < last_row; row_block += kRowTilesAtOnce)
        for (int64_t tile = first_column; tile < last_column; ++tile)
          for (int64_t row = row_block; row < std::min(row_block + kRowTilesAtOnce, last_row); ++row) {
            const int64_t column = tile * kTileRows;
            Target target{product.y + row * kHeight * product.y_stride + column,
                          product.y_stride,
                          step == 0,
                          step + count == steps,
                          row_scales ? row_scales + column : nullptr,
                          product.bias ? product.bias + column : nullptr};
            const int64_t height = std::min(kHeight, product.rows - row * kHeight);
            const int64_t width = std::min(kTileRows, out - column);
            const uint8_t* panel = memory + (tile - first_column) * panel_bytes;
            if (height == kHeight && width == kTileRows) {
              kernel.multiply(panel, row, step, count, target);
              continue;
            }
            // The edge goes through a whole tile of its own.
            alignas(64) float whole[kHeight * kTileRows] = {};
            alignas(64) float bias[kTileRows] = {};
            if (product.bias) std::copy_n(product.bias + column, width, bias);
            for (int64_t line = 0; line < height && step > 0; ++line)
              std::copy_n(target.y + line * target.stride, width, whole + line * kTileRows);
            Target edge{whole, kTileRows, target.is_first, target.is_last, target.row_scales, bias};
            kernel.multiply(panel, row, step, count, edge);
            for (int64_t line = 0; line < height; ++line)
              std::copy_n(whole + line * kTileRows, width, target.y + line * target.stride);
          }
    }
  });
}

}  // namespace vlm::kernels
