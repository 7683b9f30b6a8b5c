// Products of bytes in the tile registers of AMX (Intel's Architecture Instruction Set Extensions reference,
// chapter 3), and the same instructions as plain loops, which tests run where no machine has them.
#pragma once

#include <cstdint>
#include <cstring>

namespace vlm::kernels {

constexpr int kRowsOfTile = 16;
constexpr int kBytesOfTileRow = 64;

enum class TileUse { none, machine, emulated };
// `machine` where it has tiles, the kernel lets this process use them, and they were seen to multiply as the
// loops do; unless set_tile_use() said otherwise.
TileUse tile_use();
void set_tile_use(TileUse use);  // for tests

// Tiles 0 to 7, each kRowsOfTile rows of kBytesOfTileRow bytes, of the calling thread.
// dot<sum, a, b>: a[row, 4k .. 4k + 3], unsigned, times b[k, 4col .. 4col + 3], signed, added to 32-bit sums.
struct MachineTiles {
  MachineTiles();   // takes the registers, whole
  ~MachineTiles();  // gives them back
  MachineTiles(const MachineTiles&) = delete;
  MachineTiles& operator=(const MachineTiles&) = delete;

#if defined(__x86_64__)
  template <int kTile>
  void zero() const {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  void load(const void* from, int64_t stride_bytes) const {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride_bytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stride_bytes) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride_bytes), "i"(kTile) : "memory");
  }
  template <int kSum, int kA, int kB>
  void dot() const {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
#endif
};

struct EmulatedTiles {
  template <int kTile>
  void zero() const {
    std::memset(tiles_[kTile], 0, sizeof tiles_[kTile]);
  }
  template <int kTile>
  void load(const void* from, int64_t stride_bytes) const {
    for (int row = 0; row < kRowsOfTile; ++row)
      std::memcpy(tiles_[kTile][row], static_cast<const uint8_t*>(from) + row * stride_bytes,
                  kBytesOfTileRow);
  }
  template <int kTile>
  void store(void* to, int64_t stride_bytes) const {
    for (int row = 0; row < kRowsOfTile; ++row)
      std::memcpy(static_cast<uint8_t*>(to) + row * stride_bytes, tiles_[kTile][row], kBytesOfTileRow);
  }
  template <int kSum, int kA, int kB>
  void dot() const {
    for (int row = 0; row < kRowsOfTile; ++row)
      for (int col = 0; col < kBytesOfTileRow / 4; ++col) {
        int32_t sum;
        std::memcpy(&sum, tiles_[kSum][row] + 4 * col, 4);
        for (int k = 0; k < kRowsOfTile; ++k)
          for (int byte = 0; byte < 4; ++byte)
            sum += tiles_[kA][row][4 * k + byte] * static_cast<int8_t>(tiles_[kB][k][4 * col + byte]);
        std::memcpy(tiles_[kSum][row] + 4 * col, &sum, 4);
      }
  }

 private:
  mutable uint8_t tiles_[8][kRowsOfTile][kBytesOfTileRow] = {};
};

// sums [32 rows, 32 columns] = x [32 rows, quads, 4 inputs], unsigned, times two panels [quads, 16 columns, 4
// inputs], signed; quads come in 16. Rows of x are `x_stride` bytes apart, those of sums `stride` numbers.
template <class Tiles>
void multiply_in_tiles(const Tiles& tiles, int64_t quads, const uint8_t* x, int64_t x_stride,
                       const int32_t* left, const int32_t* right, int32_t* sums, int64_t stride) {
  constexpr int kQuadsOfTile = kRowsOfTile, kColumns = kBytesOfTileRow / 4;
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
  for (int64_t first = 0; first < quads; first += kQuadsOfTile) {
    const uint8_t* from = x + first * 4;
    tiles.template load<4>(from, x_stride);
    tiles.template load<6>(left + first * kColumns, kBytesOfTileRow);
    tiles.template load<7>(right + first * kColumns, kBytesOfTileRow);
    tiles.template dot<0, 4, 6>();
    tiles.template dot<1, 4, 7>();
    tiles.template load<5>(from + kRowsOfTile * x_stride, x_stride);
    tiles.template dot<2, 5, 6>();
    tiles.template dot<3, 5, 7>();
  }
  const int64_t stride_bytes = stride * 4;
  tiles.template store<0>(sums, stride_bytes);
  tiles.template store<1>(sums + kColumns, stride_bytes);
  tiles.template store<2>(sums + kRowsOfTile * stride, stride_bytes);
  tiles.template store<3>(sums + kRowsOfTile * stride + kColumns, stride_bytes);
}

}  // namespace vlm::kernels
