#pragma once

#include "system/system.h"

namespace vlm::kosmos {

System kosmos_2();

}  // namespace vlm::kosmos
