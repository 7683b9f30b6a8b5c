#include "weights/dequantise.h"

#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/parallel.h"

namespace vlm {

namespace {

float half_at(const uint8_t* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return half_to_float(bits);
}

// --- blocks of 32: one scale, and a minimum in the formats that end in _1

// The nibble of element idx: the first half of a block lies in the low ones.
int nibble(const uint8_t* packed, int idx) {
  return idx < 16 ? packed[idx] & 15 : packed[idx - 16] >> 4;
}

void decode_q4_0(const uint8_t* block, float* values) {
  float scale = half_at(block);
  for (int idx = 0; idx < 32; ++idx) values[idx] = static_cast<float>(nibble(block + 2, idx) - 8) * scale;
}

void decode_q4_1(const uint8_t* block, float* values) {
  float scale = half_at(block);
  float minimum = half_at(block + 2);
  for (int idx = 0; idx < 32; ++idx)
    values[idx] = static_cast<float>(nibble(block + 4, idx)) * scale + minimum;
}

// Five bits: the nibble, and above it one bit of a 32-bit word.
int five_bits(const uint8_t* high, const uint8_t* packed, int idx) {
  uint32_t word;
  std::memcpy(&word, high, sizeof word);
  return nibble(packed, idx) | static_cast<int>((word >> idx & 1) << 4);
}

void decode_q5_0(const uint8_t* block, float* values) {
  float scale = half_at(block);
  for (int idx = 0; idx < 32; ++idx)
    values[idx] = static_cast<float>(five_bits(block + 2, block + 6, idx) - 16) * scale;
}

void decode_q5_1(const uint8_t* block, float* values) {
  float scale = half_at(block);
  float minimum = half_at(block + 2);
  for (int idx = 0; idx < 32; ++idx)
    values[idx] = static_cast<float>(five_bits(block + 4, block + 8, idx)) * scale + minimum;
}

void decode_bytes(const uint8_t* bytes, int count, float scale, float* values) {
  for (int idx = 0; idx < count; ++idx)
    values[idx] = static_cast<float>(static_cast<int8_t>(bytes[idx])) * scale;
}

void decode_q8_0(const uint8_t* block, float* values) {
  decode_bytes(block + 2, 32, half_at(block), values);
}

void decode_q8_1(const uint8_t* block, float* values) {  // a sum that only products need follows the scale
  decode_bytes(block + 4, 32, half_at(block), values);
}

// --- blocks of 256: groups with small scales of their own, times one scale for all

// Two bits of element idx: 32 bytes hold four runs of 32 elements.
int two_bits(const uint8_t* packed, int idx) {
  return packed[idx / 128 * 32 + idx % 32] >> (idx / 32 % 4 * 2) & 3;
}

void decode_q2_k(const uint8_t* block, float* values) {
  const uint8_t* scales = block;
  const uint8_t* packed = block + 16;
  float scale = half_at(block + 80);
  float minimum = half_at(block + 82);
  for (int idx = 0; idx < 256; ++idx) {
    float group_scale = scale * static_cast<float>(scales[idx / 16] & 15);
    float group_minimum = minimum * static_cast<float>(scales[idx / 16] >> 4);
    values[idx] = group_scale * static_cast<float>(two_bits(packed, idx)) - group_minimum;
  }
}

void decode_q3_k(const uint8_t* block, float* values) {
  const uint8_t* high = block;
  const uint8_t* packed = block + 32;
  const uint8_t* scales =
      block + 96;  // 16 of 6 bits: eight bytes of low nibbles, then four bytes of high pairs
  float scale = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    int low_bits = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    int high_bits = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    float group_scale = scale * static_cast<float>((low_bits | high_bits << 4) - 32);
    for (int idx = group * 16; idx < group * 16 + 16; ++idx) {
      int has_high = high[idx % 32] >> (idx / 32) & 1;
      values[idx] = group_scale * static_cast<float>(two_bits(packed, idx) - (has_high ? 0 : 4));
    }
  }
}

struct ScaleAndMinimum {
  float scale;
  float minimum;
};

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes. The first four of each are the low bits of bytes
// 0-3 and 4-7, whose upper pairs are the upper bits of the last four; the lower bits of those are nibbles of
// bytes 8-11.
ScaleAndMinimum group_scale(const uint8_t* block, int group) {
  const uint8_t* scales = block + 4;
  int scale, minimum;
  if (group < 4) {
    scale = scales[group] & 63;
    minimum = scales[group + 4] & 63;
  } else {
    scale = (scales[group + 4] & 15) | (scales[group - 4] >> 6) << 4;
    minimum = scales[group + 4] >> 4 | (scales[group] >> 6) << 4;
  }
  return {half_at(block) * static_cast<float>(scale), half_at(block + 2) * static_cast<float>(minimum)};
}

// Four bits of element idx: 32 bytes hold two runs of 32 elements.
int four_bits(const uint8_t* packed, int idx) {
  return packed[idx / 64 * 32 + idx % 32] >> (idx / 32 % 2 * 4) & 15;
}

void decode_q4_k(const uint8_t* block, float* values) {
  for (int group = 0; group < 8; ++group) {
    ScaleAndMinimum with = group_scale(block, group);
    for (int idx = group * 32; idx < group * 32 + 32; ++idx)
      values[idx] = with.scale * static_cast<float>(four_bits(block + 16, idx)) - with.minimum;
  }
}

void decode_q5_k(const uint8_t* block, float* values) {
  const uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    ScaleAndMinimum with = group_scale(block, group);
    for (int idx = group * 32; idx < group * 32 + 32; ++idx) {
      int bits = four_bits(block + 48, idx) | (high[idx % 32] >> group & 1) << 4;
      values[idx] = with.scale * static_cast<float>(bits) - with.minimum;
    }
  }
}

void decode_q6_k(const uint8_t* block, float* values) {
  const uint8_t* low = block;
  const uint8_t* high = block + 128;
  const uint8_t* scales = block + 192;
  float scale = half_at(block + 208);
  for (int idx = 0; idx < 256;
       ++idx) {  // 64 bytes of nibbles hold 128 elements, the second 64 in the upper ones
    int bits = low[idx / 128 * 64 + idx % 64] >> (idx / 64 % 2 * 4) & 15;
    bits |= two_bits(high, idx) << 4;
    float with = scale * static_cast<float>(static_cast<int8_t>(scales[idx / 16]));
    values[idx] = with * static_cast<float>(bits - 32);
  }
}

void decode_q8_k(const uint8_t* block, float* values) {
  float scale;
  std::memcpy(&scale, block, sizeof scale);
  decode_bytes(block + 4, 256, scale, values);
}

// --- four bits as an index into values that lie denser around zero

constexpr int8_t kDenseAroundZero[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

void decode_iq4_nl(const uint8_t* block, float* values) {
  float scale = half_at(block);
  for (int idx = 0; idx < 32; ++idx)
    values[idx] = scale * static_cast<float>(kDenseAroundZero[nibble(block + 2, idx)]);
}

void decode_iq4_xs(const uint8_t* block, float* values) {
  float scale = half_at(block);
  uint16_t high;
  std::memcpy(&high, block + 2, sizeof high);
  for (int group = 0; group < 8; ++group) {
    int bits = (block[4 + group / 2] >> (group % 2 * 4) & 15) | (high >> (group * 2) & 3) << 4;
    float with = scale * static_cast<float>(bits - 32);
    for (int idx = 0; idx < 32; ++idx)
      values[group * 32 + idx] =
          with * static_cast<float>(kDenseAroundZero[nibble(block + 8 + group * 16, idx)]);
  }
}

constexpr BlockFormat kFormats[] = {
    {2, "Q4_0", 32, 18, decode_q4_0},      {3, "Q4_1", 32, 20, decode_q4_1},
    {6, "Q5_0", 32, 22, decode_q5_0},      {7, "Q5_1", 32, 24, decode_q5_1},
    {8, "Q8_0", 32, 34, decode_q8_0},      {9, "Q8_1", 32, 36, decode_q8_1},
    {10, "Q2_K", 256, 84, decode_q2_k},    {11, "Q3_K", 256, 110, decode_q3_k},
    {12, "Q4_K", 256, 144, decode_q4_k},   {13, "Q5_K", 256, 176, decode_q5_k},
    {14, "Q6_K", 256, 210, decode_q6_k},   {15, "Q8_K", 256, 292, decode_q8_k},
    {20, "IQ4_NL", 32, 18, decode_iq4_nl}, {23, "IQ4_XS", 256, 136, decode_iq4_xs},
};

}  // namespace

const BlockFormat* find_block_format(uint32_t type) {
  for (const BlockFormat& format : kFormats)
    if (format.type == type) return &format;
  return nullptr;
}

void dequantise(const BlockFormat& format, std::span<const std::byte> blocks, float* values) {
  VLM_CHECK(blocks.size() % static_cast<size_t>(format.block_bytes) == 0, "{} bytes of {}", blocks.size(),
            format.name);
  constexpr int64_t kGrain = 1 << 14;  // elements; smaller pieces are not worth a thread
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  parallel_for(0, static_cast<int64_t>(blocks.size()) / format.block_bytes, kGrain / format.block_elements,
               [&](int64_t first, int64_t last) {
                 for (int64_t idx = first; idx < last; ++idx)
                   format.decode(bytes + idx * format.block_bytes, values + idx * format.block_elements);
               });
}

}  // namespace vlm
