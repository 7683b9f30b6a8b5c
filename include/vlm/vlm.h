// Everything of the C++ API; docs/api.md introduces it. Functions throw vlm::Error and nothing else, except
// what the caller's own callbacks throw.
#pragma once

#include "vlm/answer.h"
#include "vlm/chat.h"
#include "vlm/error.h"
#include "vlm/image.h"
#include "vlm/model.h"
#include "vlm/region.h"
#include "vlm/runtime.h"
