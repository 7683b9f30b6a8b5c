#include "weights/source.h"

namespace vlm {

std::shared_ptr<const TensorSource> open_gguf(const std::filesystem::path& file) {
  fail(ErrorKind::unsupported, "convert to safetensors", "{}: GGUF files are not read yet", file.string());
}

}  // namespace vlm
