#include <algorithm>
#include <span>

#include "app/capi/handles.h"

namespace vlm::v0 {

namespace {

// As the decoders' own limit.
constexpr std::int64_t kMostPixels = DecodeLimits{}.max_pixels;

}  // namespace

Image Image::from_file(const std::string& path) {
  return enter([&] { return Access::image(read_image(path)); });
}

Image Image::from_memory(const void* data, std::size_t size, const std::string& name) {
  return enter([&] {
    if (!data && size > 0)
      fail(ErrorKind::bad_request, "give the bytes of a picture", "{}: no data, but {} bytes", name, size);
    return Access::image(decode_image({static_cast<const std::byte*>(data), size}, name));
  });
}

Image Image::from_pixels(const std::uint8_t* rgb, std::int64_t height, std::int64_t width,
                         std::int64_t row_bytes) {
  return enter([&] {
    if (!rgb || height < 1 || width < 1 || height > kMostPixels / width)
      fail(ErrorKind::bad_request, "give pixels, and a height and width of at least 1",
           "a picture of {} x {} pixels{}", height, width, rgb ? "" : " without data");
    if (row_bytes != 0 && row_bytes < width * 3)
      fail(ErrorKind::bad_request, "give the distance between rows in bytes, or 0 for rows without gaps",
           "rows of {} pixels take {} bytes, but lie {} apart", width, width * 3, row_bytes);
    vlm::Image image = vlm::Image::of_size(height, width);
    std::int64_t stride = row_bytes == 0 ? width * 3 : row_bytes;
    for (std::int64_t y = 0; y < height; ++y) std::copy_n(rgb + y * stride, width * 3, image.row(y));
    return Access::image(std::move(image));
  });
}

std::int64_t Image::height() const {
  return data_->image.height;
}

std::int64_t Image::width() const {
  return data_->image.width;
}

const std::uint8_t* Image::pixels() const {
  return data_->image.pixels.data();
}

std::vector<vlm::Image> engine_images(const std::vector<Image>& images) {
  std::vector<vlm::Image> copies;
  copies.reserve(images.size());
  for (const Image& image : images) copies.push_back(Access::image(image));
  return copies;
}

}  // namespace vlm::v0
