#pragma once

#include "system/system.h"

namespace vlm::llava {

System llava_15();
System bakllava();
System firellava();

}  // namespace vlm::llava
