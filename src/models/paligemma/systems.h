#pragma once

#include "system/system.h"

namespace vlm::paligemma {

System paligemma();

}  // namespace vlm::paligemma
