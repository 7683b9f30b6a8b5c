// What this machine reaches at best with the instruction set in use and all threads, measured: the roofs that
// speeds are held against.
#pragma once

#include <string>

namespace vlm::ops {

struct Roofs {            // a second
  double floats = 0;      // float32 operations
  double halves = 0;      // on 16-bit floats, where an instruction multiplies them; else those of float32
  double bytes = 0;       // 8 bits by 8 bits, sums in 32 bits
  double nibbles = 0;     // 8 bits by 4 bits, sums in 16 bits for a while
  double read_bytes = 0;  // from memory, front to back
};

// Takes about a second and 512 MB.
Roofs measure_roofs();

}  // namespace vlm::ops
