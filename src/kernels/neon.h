// 8-bit products of 64-bit ARM: kernels take a target as a template parameter.
#pragma once

#include <cstdint>

#include "kernels/cpu.h"
#include "kernels/targets.h"

#include "hwy/base.h"
#include "hwy/detect_targets.h"
#if HWY_ARCH_ARM_A64
#include <arm_neon.h>
#endif

namespace vlm::kernels {

#if HWY_ARCH_ARM_A64

// By their codes, because neither compiler nor assembler is told of these instructions. Told for these
// kernels alone, by a pragma (which would have to be of all of armv8.2-a), the compiler would not inline
// Highway's functions where a whole build is told of other things (-mcpu=native). Symbols give registers
// their numbers.
asm(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, "
    "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
    ".equ .Lv\\n, \\n\n\t"
    ".endr");

// sdot: to each of 4 sums, the products of 4 inputs.
HWY_INLINE int32x4_t add_dots(int32x4_t sums, int8x16_t w, int8x16_t x) {
  asm(".inst 0x4e809400 | .L%[x] << 16 | .L%[w] << 5 | .L%[sums]"
      : [sums] "+w"(sums)
      : [w] "w"(w), [x] "w"(x));
  return sums;
}

// smmla: to 2 x 2 sums, the products of 8 inputs of two rows and two columns.
HWY_INLINE int32x4_t add_squares(int32x4_t sums, int8x16_t rows, int8x16_t columns) {
  asm(".inst 0x4e80a400 | .L%[columns] << 16 | .L%[rows] << 5 | .L%[sums]"
      : [sums] "+w"(sums)
      : [rows] "w"(rows), [columns] "w"(columns));
  return sums;
}

#endif

}  // namespace vlm::kernels
