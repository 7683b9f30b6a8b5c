#pragma once

#include "system/system.h"

namespace vlm::language {

System causal_lm();
System t5();
System bert();

}  // namespace vlm::language
