// The table of systems. A new system is one line here, its file, and its cases.
#include "models/clip/systems.h"
#include "models/kosmos/systems.h"
#include "models/language/systems.h"
#include "models/llava/systems.h"
#include "models/qwen/systems.h"
#include "models/vit/systems.h"

namespace vlm {

const std::vector<System>& all_systems() {
  static const std::vector<System> systems{
      llava::llava_15(), llava::bakllava(), llava::firellava(), clip::clip(),
      clip::metaclip(),  clip::siglip(),    vit::vit(),         language::causal_lm(),
      kosmos::kosmos_2(), qwen::qwen2_vl(),
  };
  return systems;
}

}  // namespace vlm
