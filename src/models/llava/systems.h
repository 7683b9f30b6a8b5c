#pragma once

#include "system/system.h"

namespace vlm::llava {

System llava_15();
System bakllava();
System firellava();
System llava_16();
System llava_onevision();
System llava_first();
System slowfast_llava();
System nous_hermes_2_vision();

}  // namespace vlm::llava
