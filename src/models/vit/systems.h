#pragma once

#include "system/system.h"

namespace vlm::vit {

System vit();

}  // namespace vlm::vit
