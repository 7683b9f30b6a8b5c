#include "media/draw.h"
