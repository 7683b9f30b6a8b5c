// The table of systems. A new system is one line here, its file, and its cases.
#include "models/blip/systems.h"
#include "models/clip/systems.h"
#include "models/compose/systems.h"
#include "models/deepseek/systems.h"
#include "models/florence/systems.h"
#include "models/interleaved/systems.h"
#include "models/kosmos/systems.h"
#include "models/language/systems.h"
#include "models/llava/systems.h"
#include "models/paligemma/systems.h"
#include "models/qwen/systems.h"
#include "models/vit/systems.h"

namespace vlm {

const std::vector<System>& all_systems() {
  static const std::vector<System> systems{
      blip::blip(),
      blip::blip_2(),
      blip::instructblip(),
      language::t5(),
      language::bert(),
      interleaved::fuyu(),
      interleaved::otterhd(),
      interleaved::idefics2(),
      interleaved::idefics3(),
      interleaved::mantis(),
      interleaved::idefics(),
      llava::llava_15(),
      llava::bakllava(),
      llava::firellava(),
      llava::llava_16(),
      llava::llava_onevision(),
      llava::llava_first(),
      llava::slowfast_llava(),
      llava::nous_hermes_2_vision(),
      clip::clip(),
      clip::metaclip(),
      clip::siglip(),
      vit::vit(),
      language::causal_lm(),
      kosmos::kosmos_2(),
      florence::florence_2(),
      paligemma::paligemma(),
      qwen::qwen2_vl(),
      deepseek::deepseek_vl(),
      compose::compose(),
  };
  return systems;
}

}  // namespace vlm
