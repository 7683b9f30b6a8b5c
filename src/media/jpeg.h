// The rows of a JPEG through libjpeg itself, straight to where they belong: libvips moves each of them twice
// more, a quarter of its time. Grey and three-channel pictures. Internal to media/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vlm {

class JpegRows {
 public:
  explicit JpegRows(std::span<const std::byte> bytes);  // which stay where they are
  ~JpegRows();
  JpegRows(const JpegRows&) = delete;
  JpegRows& operator=(const JpegRows&) = delete;

  // Both are false on an error; reason() tells it. A picture of another size than told is one.
  bool begin(int64_t height, int64_t width);
  bool read(uint8_t* const* rows, int64_t count);  // the next rows, RGB
  const char* reason() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vlm
