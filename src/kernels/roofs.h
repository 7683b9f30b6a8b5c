// Loops that do nothing but multiply, or nothing but read: what one thread of this machine can reach, for
// `vlm bench`. Each runs `rounds` times around and returns the operations of that (a multiplication and an
// addition are two).
#pragma once

#include <cstdint>

namespace vlm::kernels {

double multiply_floats(int64_t rounds);  // float32 multiply-add
// 16-bit floats, two products at a time; 0 where no kernel of this level has an instruction for it.
double multiply_halves(int64_t rounds);
// 8 bits by 8 bits with sums in 32 bits at every step: VNNI, or the three instructions that stand for it; on
// ARM the best of kernels/neon.h.
double multiply_bytes(int64_t rounds);
// The same with sums in 16 bits, which products with 4 bits allow for a while.
double multiply_nibbles(int64_t rounds);

// Reads memory from front to back; the sum keeps the compiler from leaving it out. `data` is 64-byte aligned,
// `size` a multiple of 512.
uint64_t read_memory(const void* data, int64_t size);

}  // namespace vlm::kernels
