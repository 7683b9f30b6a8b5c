// For the tests of kernels: every instruction set of this machine, and numbers to compute with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/floats.h"

namespace vlm::kernels {

template <typename Body>
void on_every_target(const Body& body) {
  for (int64_t target : usable_targets()) {
    SCOPED_TRACE(target_name(target));
    use_only_target(target);
    body();
  }
  use_only_target(0);
}

}  // namespace vlm::kernels
