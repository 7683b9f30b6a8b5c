#pragma once

#include "system/system.h"

namespace vlm::florence {

System florence_2();

}  // namespace vlm::florence
