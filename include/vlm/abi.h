// Everything whose layout callers compile in stands in an inline namespace: programs write vlm::Model, the
// linker sees vlm::v0::Model. An incompatible change raises the number, and a program built against the old
// one then fails to link instead of misreading memory.
#pragma once

namespace vlm {
#ifdef VLM_BUILDING_LIBRARY  // inside, vlm::Image and others are the engine's own
namespace v0 {}
#else
inline namespace v0 {}
#endif
}  // namespace vlm
