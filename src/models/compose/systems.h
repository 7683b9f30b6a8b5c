#pragma once

#include "system/system.h"

namespace vlm::compose {

System compose();

}  // namespace vlm::compose
