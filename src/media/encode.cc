// Pictures to PNG and JPEG files, and SVG to pictures: the parts of libvips that only see what we made.
#include <vips/vips.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "media/decode.h"

namespace vlm {
namespace {

struct Unref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using VipsPointer = std::unique_ptr<VipsImage, Unref>;

template <typename Save>
void write_with(const std::filesystem::path& path, const Image& image, Save save) {
  VLM_CHECK(image.height > 0 && image.width > 0 &&
            image.pixels.size() == static_cast<size_t>(image.height * image.width * 3));
  void* data = nullptr;
  size_t size = 0;
  with_vips(
      [&] {
        VipsPointer source(vips_image_new_from_memory(image.pixels.data(), image.pixels.size(),
                                                      static_cast<int>(image.width),
                                                      static_cast<int>(image.height), 3, VIPS_FORMAT_UCHAR));
        if (!source) return false;
        source->Type = VIPS_INTERPRETATION_sRGB;
        return save(source.get(), &data, &size) == 0;
      },
      [&](const std::string& reason) {
        fail(ErrorKind::out_of_resources, "write a smaller picture or another format",
             "{}: a picture of {} x {} cannot be encoded ({})", path.string(), image.width, image.height,
             reason);
      });
  std::unique_ptr<void, void (*)(void*)> owner(data, [](void* memory) { g_free(memory); });
  AtomicFile file(path);
  file.write(std::span(static_cast<const std::byte*>(data), size));
  file.commit();
}

}  // namespace

void write_png(const std::filesystem::path& path, const Image& image) {
  write_with(path, image, [](VipsImage* source, void** data, size_t* size) {
    return vips_pngsave_buffer(source, data, size, "strip", TRUE, nullptr);
  });
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  write_with(path, image, [quality](VipsImage* source, void** data, size_t* size) {
    return vips_jpegsave_buffer(source, data, size, "Q", std::clamp(quality, 1, 100), "optimize_coding", TRUE,
                                "strip", TRUE, nullptr);
  });
}

Image render_svg(std::span<const std::byte> bytes, int64_t height, int64_t width, Colour background) {
  check_picture_size(height, width, "SVG drawing", {});
  Image image{height, width, {}};
  with_vips(
      [&] {
        // The file's own size only sets the scale: the drawing is rendered at the larger of the two scales
        // and then fitted, so that lines stay sharp.
        VipsImage* opened = nullptr;
        void* data = const_cast<std::byte*>(bytes.data());
        if (vips_svgload_buffer(data, bytes.size(), &opened, nullptr) != 0) return false;
        const double own_width = opened->Xsize, own_height = opened->Ysize;
        g_object_unref(opened);
        const double scale =
            std::max(static_cast<double>(width) / own_width, static_cast<double>(height) / own_height);
        if (own_width * scale * own_height * scale > static_cast<double>(DecodeLimits{}.max_pixels)) {
          vips_error("vlm", "its own sides of %g x %g are too unlike the ones asked for", own_width,
                     own_height);
          return false;
        }
        if (vips_svgload_buffer(data, bytes.size(), &opened, "scale", scale, nullptr) != 0) return false;
        VipsPointer drawing(opened);
        VipsImage* next = nullptr;
        if (vips_premultiply(drawing.get(), &next, nullptr) != 0) return false;
        drawing.reset(next);
        if (vips_resize(drawing.get(), &next, static_cast<double>(width) / drawing->Xsize, "vscale",
                        static_cast<double>(height) / drawing->Ysize, nullptr) != 0) {
          return false;
        }
        drawing.reset(next);
        size_t size = 0;
        std::unique_ptr<void, void (*)(void*)> memory(vips_image_write_to_memory(drawing.get(), &size),
                                                      [](void* p) { g_free(p); });
        if (!memory) return false;
        VLM_CHECK(drawing->Xsize == width && drawing->Ysize == height && drawing->Bands == 4 &&
                  drawing->BandFmt == VIPS_FORMAT_FLOAT);
        const auto* samples = static_cast<const float*>(memory.get());
        const float paper[3] = {static_cast<float>(background.r), static_cast<float>(background.g),
                                static_cast<float>(background.b)};
        image.pixels.resize(static_cast<size_t>(height * width * 3));
        for (int64_t i = 0; i < height * width; ++i) {
          const float uncovered = 255 - samples[i * 4 + 3];
          for (int c = 0; c < 3; ++c) {
            const float value = samples[i * 4 + c] + paper[c] * uncovered;
            image.pixels[i * 3 + c] = static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
          }
        }
        return true;
      },
      [](const std::string& reason) {
        fail(ErrorKind::bad_request, "check the drawing in a browser",
             "the SVG drawing cannot be rendered ({})", reason);
      });
  return image;
}

}  // namespace vlm
