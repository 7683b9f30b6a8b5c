#include "models/interleaved/systems.h"

namespace vlm::interleaved {

bool is_named(const Checkpoint& checkpoint, const char* word) {
  std::string name = checkpoint.name;
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name.find(word) != std::string::npos;
}

}  // namespace vlm::interleaved
