// libFuzzer target: any bytes are either a video within the limits or a bad_request, and its frames can be
// asked for.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "media/video.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vlm::set_log_sink([](vlm::LogLevel, const std::string&) {});
  const vlm::VideoLimits limits{
      .max_pixels = 1 << 18, .max_frames = 500, .max_read_pixels = 1 << 20, .max_decoded_frames = 1000};
  try {
    vlm::Video video = vlm::Video::from_bytes(std::as_bytes(std::span(data, size)), "input", limits);
    int64_t count = video.num_frames();
    if (count < 1 || count > limits.max_frames) std::abort();
    for (const vlm::Image& image : video.read({0, count / 2, count - 1}))
      if (image.pixels.size() != static_cast<size_t>(image.height * image.width * 3)) std::abort();
  } catch (const vlm::Error& error) {
    bool is_expected =
        error.kind() == vlm::ErrorKind::bad_request || error.kind() == vlm::ErrorKind::unsupported;
    if (!is_expected || error.hint().empty()) std::abort();
  }
  return 0;
}
