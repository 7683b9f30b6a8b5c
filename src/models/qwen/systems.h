#pragma once

#include "system/system.h"

namespace vlm::qwen {

System qwen2_vl();

}  // namespace vlm::qwen
