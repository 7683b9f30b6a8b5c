#pragma once

#include "system/system.h"

namespace vlm::language {

System causal_lm();

}  // namespace vlm::language
