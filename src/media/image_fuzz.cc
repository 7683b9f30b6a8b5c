// libFuzzer target: any bytes are either a picture within the limits or a bad_request.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const vlm::DecodeLimits limits{.max_bytes = 1 << 20, .max_pixels = 1 << 20, .max_side = 1 << 14};
  try {
    const vlm::Image image = vlm::decode_image(std::as_bytes(std::span(data, size)), "input", limits);
    if (image.height * image.width > limits.max_pixels) std::abort();
    if (image.pixels.size() != static_cast<size_t>(image.height * image.width * 3)) std::abort();
  } catch (const vlm::Error& error) {
    if (error.kind() != vlm::ErrorKind::bad_request || error.hint().empty()) std::abort();
  }
  return 0;
}
