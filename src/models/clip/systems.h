#pragma once

#include "system/system.h"

namespace vlm::clip {

System clip();
System metaclip();
System siglip();

}  // namespace vlm::clip
