#include "models/interleaved/systems.h"

namespace vlm::interleaved {

bool is_named(const Checkpoint& checkpoint, const char* word) {
  std::string name = checkpoint.name;
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name.find(word) != std::string::npos;
}

bool is_mantis(const Checkpoint& checkpoint) {
  std::string processor = checkpoint.preprocessor.get("processor_class", "");
  return is_named(checkpoint, "mantis") || processor == "MLlavaProcessor" || processor == "MFuyuProcessor";
}

}  // namespace vlm::interleaved
