#include "weights/source.h"

namespace vlm {

std::shared_ptr<const TensorSource> open_pytorch(const std::filesystem::path& file) {
  fail(ErrorKind::unsupported, "convert to safetensors", "{}: PyTorch files are not read yet", file.string());
}

}  // namespace vlm
