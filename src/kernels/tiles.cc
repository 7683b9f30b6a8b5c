#include "kernels/tiles.h"

#include <atomic>
#include <random>
#include <vector>

#include "base/log.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define VLM_MAY_HAVE_TILES 1
#else
#define VLM_MAY_HAVE_TILES 0
#endif

namespace vlm::kernels {

#if VLM_MAY_HAVE_TILES

namespace {

// Palette 1: eight tiles of up to 16 rows of 64 bytes.
struct alignas(64) Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

Config whole_tiles() {
  Config config;
  for (int tile = 0; tile < 8; ++tile)
    config.row_bytes[tile] = kBytesOfTileRow, config.rows[tile] = kRowsOfTile;
  return config;
}

bool has_instructions() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kTiles = 1u << 24, kBytes = 1u << 25;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kTiles) != 0 && (edx & kBytes) != 0;
}

// Linux saves the large registers only of processes that ask for them.
bool may_use_registers() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool multiplies_as_loops_do() {
  constexpr int kRows = 2 * kRowsOfTile, kInputs = 2 * kBytesOfTileRow, kColumns = 32;
  std::minstd_rand random(1);
  std::vector<uint8_t> x(kRows * kInputs);
  for (uint8_t& byte : x) byte = static_cast<uint8_t>(random() >> 8);
  alignas(64) int32_t panels[2][kInputs / 4 * kColumns / 2];
  for (auto& panel : panels)
    for (int32_t& piece : panel) piece = static_cast<int32_t>(random() ^ random() << 16);
  std::vector<int32_t> by_machine(kRows * kColumns), by_loops(kRows * kColumns);
  {
    const MachineTiles tiles;
    multiply_in_tiles(tiles, kInputs / 4, x.data(), kInputs, panels[0], panels[1], by_machine.data(),
                      kColumns);
  }
  multiply_in_tiles(EmulatedTiles(), kInputs / 4, x.data(), kInputs, panels[0], panels[1], by_loops.data(),
                    kColumns);
  if (by_machine != by_loops)
    log(LogLevel::warn, "the tile registers of this processor (AMX) give wrong products: they are not used");
  return by_machine == by_loops;
}

}  // namespace

MachineTiles::MachineTiles() {
  static const Config config = whole_tiles();
  asm volatile("ldtilecfg %0" : : "m"(config));
}
MachineTiles::~MachineTiles() {
  asm volatile("tilerelease");
}

#endif

namespace {

std::atomic<TileUse>& chosen() {
#if VLM_MAY_HAVE_TILES
  static std::atomic<TileUse> use = has_instructions() && may_use_registers() && multiplies_as_loops_do()
                                        ? TileUse::machine
                                        : TileUse::none;
#else
  static std::atomic<TileUse> use = TileUse::none;
#endif
  return use;
}

}  // namespace

TileUse tile_use() {
  return chosen();
}
void set_tile_use(TileUse use) {
  chosen() = use;
}

}  // namespace vlm::kernels
