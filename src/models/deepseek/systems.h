#pragma once

#include "system/system.h"

namespace vlm::deepseek {

System deepseek_vl();

}  // namespace vlm::deepseek
