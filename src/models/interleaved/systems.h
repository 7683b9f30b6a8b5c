#pragma once

#include "system/system.h"

namespace vlm::interleaved {

System fuyu();
System otterhd();
System idefics2();
System idefics3();
System mantis();
System idefics();

// Layouts that several systems share are told apart by the checkpoint's name; `word` in lower case.
bool is_named(const Checkpoint& checkpoint, const char* word);
// By its name, or by its own processors, which its files keep through training.
bool is_mantis(const Checkpoint& checkpoint);

}  // namespace vlm::interleaved
