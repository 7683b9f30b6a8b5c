#pragma once

#include "system/system.h"

namespace vlm::blip {

System blip();
System blip_2();
System instructblip();

}  // namespace vlm::blip
