// Pictures to tensors: a photograph of 12 megapixels (JPEG, 4:2:0, quality 90), a screenshot (PNG, WebP),
// frames of a video; stage by stage, as whole processors, and beside libjpeg-turbo's decoding alone, which is
// the floor. On one thread unless OMP_NUM_THREADS says otherwise. Run interleaved on a noisy machine:
//   --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
//   --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <jpeglib.h>
#include <vips/vips.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <random>
#include <stdexcept>

#include "base/json.h"
#include "base/parallel.h"
#include "media/image.h"
#include "parts/processors/anyres.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/native_patches.h"

namespace vlm {
namespace {

using Bytes = std::vector<std::byte>;

constexpr int64_t kHeight = 3000, kWidth = 4000;

// Smooth light, structures of every size, hard edges, and a sensor's noise.
Image photograph() {
  std::mt19937 generator(7);
  std::vector<int> sums(kHeight * kWidth * 3, -6 * 128);
  for (int64_t step : {1000, 250, 100, 50, 20, 10, 5}) {
    Image noise = Image::filled(kHeight / step, kWidth / step, {0, 0, 0});
    int64_t reach = 40 + step / 4;
    for (size_t at = 0; at < noise.pixels.size(); at += 3) {
      int light =
          128 + static_cast<int>(generator() % static_cast<unsigned>(reach)) - static_cast<int>(reach / 2);
      for (size_t c = 0; c < 3; ++c)
        noise.pixels[at + c] =
            static_cast<uint8_t>(std::clamp(light + static_cast<int>(generator() % 17) - 8, 0, 255));
    }
    Image large = resize_pillow(noise, kHeight, kWidth, Filter::bicubic);
    for (size_t at = 0; at < sums.size(); ++at) sums[at] += large.pixels[at];
  }
  for (int shape = 0; shape < 400; ++shape) {
    int64_t x = generator() % kWidth, y = generator() % kHeight, size = 20 + generator() % 300;
    int step = static_cast<int>(generator() % 80) - 40;
    for (int64_t row = y; row < std::min(kHeight, y + size); ++row)
      for (int64_t at = (row * kWidth + x) * 3; at < (row * kWidth + std::min(kWidth, x + size)) * 3; ++at)
        sums[at] += step;
  }
  Image image = Image::filled(kHeight, kWidth, {0, 0, 0});
  std::array<int8_t, 4096> noise{};
  std::normal_distribution<float> normal(0, 6);
  for (int8_t& value : noise) value = static_cast<int8_t>(std::clamp(normal(generator), -100.0F, 100.0F));
  for (size_t at = 0; at < sums.size(); at += 3) {
    int grain = noise[generator() % noise.size()];
    for (size_t c = 0; c < 3; ++c)
      image.pixels[at + c] = static_cast<uint8_t>(std::clamp(sums[at + c] + grain, 0, 255));
  }
  return image;
}

Bytes to_jpeg(const Image& image, bool is_progressive, int orientation = 1) {
  jpeg_compress_struct encoder;
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* data = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&encoder, &data, &size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);  // 4:2:0
  jpeg_set_quality(&encoder, 90, TRUE);
  if (is_progressive) jpeg_simple_progression(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  if (orientation != 1) {
    const std::array<JOCTET, 32> exif = {
        'E', 'x', 'i', 'f',  0,    0, 'M', 'M', 0, 42, 0, 0, 0,
        8,   0,   1,   0x01, 0x12, 0, 3,   0,   0, 0,  1, 0, static_cast<JOCTET>(orientation)};
    jpeg_write_marker(&encoder, JPEG_APP0 + 1, exif.data(), exif.size());
  }
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(image.row(encoder.next_scanline));
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  Bytes bytes(reinterpret_cast<std::byte*>(data), reinterpret_cast<std::byte*>(data) + size);
  free(data);
  jpeg_destroy_compress(&encoder);
  return bytes;
}

Bytes with_vips(const Image& image, const char* suffix) {
  static const int ready = vips_init("media_bench");
  VipsImage* picture = ready == 0
                           ? vips_image_new_from_memory(image.pixels.data(), image.pixels.size(),
                                                        static_cast<int>(image.width),
                                                        static_cast<int>(image.height), 3, VIPS_FORMAT_UCHAR)
                           : nullptr;
  void* data = nullptr;
  size_t size = 0;
  if (!picture || vips_image_write_to_buffer(picture, suffix, &data, &size, nullptr) != 0)
    throw std::runtime_error(vips_error_buffer());
  Bytes bytes(static_cast<std::byte*>(data), static_cast<std::byte*>(data) + size);
  g_free(data);
  g_object_unref(picture);
  return bytes;
}

// Windows, lines of text-like marks, a photograph in a corner: 2560 x 1440.
Image screenshot() {
  Image image = Image::filled(1440, 2560, {245, 246, 248});
  std::mt19937 generator(3);
  for (int64_t line = 0; line < 70; ++line)
    for (int64_t column = 0; column < 180; ++column)
      if (generator() % 6 != 0)
        for (int64_t y = 0; y < 12; ++y)
          for (int64_t x = 0; x < 7; ++x) {
            uint8_t ink = generator() % 3 == 0 ? static_cast<uint8_t>(generator() % 4 * 60) : 245;
            std::fill_n(image.row(line * 20 + y + 10) + (column * 9 + x + 20) * 3, 3, ink);
          }
  static const Image photo = resize_pillow(photograph(), 600, 800, Filter::bicubic);
  for (int64_t y = 0; y < 600; ++y) std::copy_n(photo.row(y), 2400, image.row(700 + y) + 1700 * 3);
  return image;
}

const Bytes& file(const std::string& name) {
  static std::map<std::string, Bytes> files;
  Bytes& bytes = files[name];
  if (!bytes.empty()) return bytes;
  static const Image photo = photograph();
  if (name == "photo.jpg") bytes = to_jpeg(photo, false);
  if (name == "progressive.jpg") bytes = to_jpeg(photo, true);
  if (name == "rotated.jpg") bytes = to_jpeg(photo, false, 6);
  if (name == "screenshot.png") bytes = with_vips(screenshot(), ".png");
  if (name == "screenshot.webp") bytes = with_vips(screenshot(), ".webp[lossless=true]");
  if (name == "photo.webp") bytes = with_vips(photo, ".webp[Q=85]");
  if (name == "photo.png") bytes = with_vips(resize_pillow(photo, 1500, 2000, Filter::bicubic), ".png");
  return bytes;
}

const Image& decoded(const std::string& name) {
  static std::map<std::string, Image> images;
  Image& image = images[name];
  if (image.height == 0) image = decode_image(file(name), name);
  return image;
}

void report(benchmark::State& state, const std::string& name) {
  state.counters["MB file"] = static_cast<double>(file(name).size()) * 1e-6;
}

// The floor: every row into the same few kilobytes, with Pillow's settings, which are libjpeg's defaults.
void libjpeg_alone(benchmark::State& state, const std::string& name) {
  const Bytes& bytes = file(name);
  std::vector<JSAMPLE> rows(2 * kWidth * 3);
  for (auto _ : state) {
    jpeg_decompress_struct decoder;
    jpeg_error_mgr errors;
    decoder.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&decoder);
    jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&decoder, TRUE);
    jpeg_start_decompress(&decoder);
    std::array<JSAMPROW, 2> targets = {rows.data(), rows.data() + kWidth * 3};
    while (decoder.output_scanline < decoder.output_height) jpeg_read_scanlines(&decoder, targets.data(), 2);
    jpeg_destroy_decompress(&decoder);
  }
  report(state, name);
}

void decode(benchmark::State& state, const std::string& name) {
  const Bytes& bytes = file(name);
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(bytes, name));
  report(state, name);
}

void resize(benchmark::State& state, const std::string& name, int64_t height, int64_t width, Filter filter) {
  const Image& image = decoded(name);
  for (auto _ : state) benchmark::DoNotOptimize(resize_pillow(image, height, width, filter));
}

void resize_torch_bytes(benchmark::State& state, int64_t height, int64_t width) {
  const Image frame = resize_pillow(decoded("photo.jpg"), 1080, 1920, Filter::bicubic);
  for (auto _ : state) benchmark::DoNotOptimize(resize_torch(frame, height, width, Filter::bicubic, true));
}

void resize_torch_floats(benchmark::State& state, int64_t height, int64_t width) {
  const FloatImage frame = to_float(resize_pillow(decoded("photo.jpg"), 1080, 1920, Filter::bicubic));
  for (auto _ : state) benchmark::DoNotOptimize(resize_torch(frame, height, width, Filter::bicubic, true));
}

Json config(const std::string& text) {
  return Json::parse(text, "media_bench");
}

// LLaVA-1.5: bicubic to 336 for the shorter side, the middle 336 x 336.
Tensor llava(const Image& image) {
  static const ImageProcessor processor = ImageProcessor::from(
      config(R"({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336},
                 "crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "resample": 3})"));
  return processor(image);
}

// LLaVA-1.5 as its authors feed it: on a square of the mean colour first.
Tensor padded_llava(const Image& image) {
  static const ImageProcessor processor = ImageProcessor::from(config(
      R"({"image_processor_type": "LlavaImageProcessor", "do_pad": true, "size": {"shortest_edge": 336},
                 "crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "resample": 3})"));
  return processor(image);
}

Tensor siglip(const Image& image) {
  static const ImageProcessor processor = ImageProcessor::from(config(
      R"({"image_processor_type": "SiglipImageProcessor", "size": {"height": 384, "width": 384}, "resample": 3})"));
  return processor(image);
}

// Qwen2-VL with at most 1280 tokens, the processor's own limit.
Tensor qwen(const Image& image) {
  static const NativePatches patches =
      NativePatches::from(config(R"({"image_processor_type": "Qwen2VLImageProcessor"})"));
  return patches.image(image).rows_PK;
}

// Idefics3's three resizes and twelve tiles.
Tensor idefics3(const Image& image) {
  static const ImageProcessor processor;
  constexpr int64_t side = 364;
  Image shown =
      resize_pillow(resize_pillow(image, 1092, 1456, Filter::lanczos), 3 * side, 4 * side, Filter::lanczos);
  std::vector<Tensor> views;
  for (const Image& tile : cut_tiles(shown, side)) views.push_back(processor.pixel_values(tile));
  views.push_back(processor.pixel_values(resize_pillow(shown, side, side, Filter::lanczos)));
  return at::stack(views);
}

void picture_to_tensor(benchmark::State& state, const std::string& name, Tensor (*processor)(const Image&)) {
  const Bytes& bytes = file(name);
  for (auto _ : state) benchmark::DoNotOptimize(processor(decode_image(bytes, name)));
  report(state, name);
}

void processor_alone(benchmark::State& state, const std::string& name, Tensor (*processor)(const Image&)) {
  const Image& image = decoded(name);
  for (auto _ : state) benchmark::DoNotOptimize(processor(image));
}

#define VLM_MEDIA_BENCH(...) \
  BENCHMARK_CAPTURE(__VA_ARGS__)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()

VLM_MEDIA_BENCH(libjpeg_alone, photo, "photo.jpg");
VLM_MEDIA_BENCH(decode, photo, "photo.jpg");
VLM_MEDIA_BENCH(decode, rotated, "rotated.jpg");
VLM_MEDIA_BENCH(libjpeg_alone, progressive, "progressive.jpg");
VLM_MEDIA_BENCH(decode, progressive, "progressive.jpg");
VLM_MEDIA_BENCH(decode, screenshot_png, "screenshot.png");
VLM_MEDIA_BENCH(decode, screenshot_webp, "screenshot.webp");
VLM_MEDIA_BENCH(decode, photo_png, "photo.png");
VLM_MEDIA_BENCH(decode, photo_webp, "photo.webp");
VLM_MEDIA_BENCH(resize, photo_to_384, "photo.jpg", 384, 384, Filter::bicubic);
VLM_MEDIA_BENCH(resize, photo_to_1092x1456, "photo.jpg", 1092, 1456, Filter::lanczos);
VLM_MEDIA_BENCH(resize, rotated_to_448x336, "rotated.jpg", 448, 336, Filter::bicubic);
VLM_MEDIA_BENCH(resize_torch_bytes, frame_to_364x644, 364, 644);
VLM_MEDIA_BENCH(resize_torch_floats, frame_to_364x644, 364, 644);
VLM_MEDIA_BENCH(processor_alone, llava, "photo.jpg", llava);
VLM_MEDIA_BENCH(processor_alone, padded_llava, "photo.jpg", padded_llava);
VLM_MEDIA_BENCH(processor_alone, siglip, "photo.jpg", siglip);
VLM_MEDIA_BENCH(processor_alone, qwen2_vl, "photo.jpg", qwen);
VLM_MEDIA_BENCH(processor_alone, idefics3, "photo.jpg", idefics3);
VLM_MEDIA_BENCH(picture_to_tensor, llava, "photo.jpg", llava);
VLM_MEDIA_BENCH(picture_to_tensor, padded_llava, "photo.jpg", padded_llava);
VLM_MEDIA_BENCH(picture_to_tensor, siglip, "photo.jpg", siglip);
VLM_MEDIA_BENCH(picture_to_tensor, qwen2_vl, "photo.jpg", qwen);
VLM_MEDIA_BENCH(picture_to_tensor, idefics3, "photo.jpg", idefics3);
VLM_MEDIA_BENCH(picture_to_tensor, llava_rotated, "rotated.jpg", llava);
VLM_MEDIA_BENCH(picture_to_tensor, llava_screenshot, "screenshot.png", llava);

}  // namespace
}  // namespace vlm

int main(int argc, char** argv) {
  if (!std::getenv("OMP_NUM_THREADS")) vlm::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
