#include "media/video.h"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "media/test_pictures.h"
#include "media/test_video.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

class Videos : public testing::Test {
 protected:
  Videos() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Videos() override { fs::remove_all(folder_); }
  fs::path folder_ = fs::temp_directory_path() / "vlm_video_test";
};

// A bright square moves over a ground whose colour tells the frame.
std::vector<Image> moving(int64_t count, int64_t height = 48, int64_t width = 64) {
  std::vector<Image> frames;
  for (int64_t number = 0; number < count; ++number) {
    auto level = static_cast<uint8_t>(10 + number * 11);
    Image image = Image::filled(height, width, {level, static_cast<uint8_t>(255 - level), 90});
    for (int64_t y = 4; y < 14; ++y)
      for (int64_t x = number; x < number + 10; ++x)
        for (int64_t channel = 0; channel < 3; ++channel) image.row(y)[x * 3 + channel] = 250;
    frames.push_back(std::move(image));
  }
  return frames;
}

std::vector<int64_t> up_to(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Mean of the lower half, where only the ground is.
double ground(const Image& image, int64_t channel) {
  double sum = 0;
  for (int64_t y = image.height / 2; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) sum += image.row(y)[x * 3 + channel];
  return sum / static_cast<double>(image.height / 2 * image.width);
}

void expect_frames_by_number(const Video& video, int64_t count) {
  ASSERT_EQ(video.num_frames(), count);
  EXPECT_FALSE(video.is_sampled());
  std::vector<Image> all = video.read(up_to(count));
  for (int64_t number = 0; number < count; ++number) {
    const Image& frame = all[static_cast<size_t>(number)];
    EXPECT_NEAR(ground(frame, 0), 10 + number * 11, 5) << "frame " << number;
    // The same alone, wherever the next key frame lies.
    EXPECT_EQ(video.read({number}).front().pixels, frame.pixels) << "frame " << number;
  }
  std::vector<Image> some = video.read({1, 1, count / 2, count - 1});
  ASSERT_EQ(some.size(), 4u);
  EXPECT_EQ(some[0].pixels, all[1].pixels);
  EXPECT_EQ(some[1].pixels, all[1].pixels);
  EXPECT_EQ(some[2].pixels, all[static_cast<size_t>(count / 2)].pixels);
  EXPECT_EQ(some[3].pixels, all.back().pixels);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "no error";
}

TEST_F(Videos, FramesByNumberInEveryContainer) {
  for (const char* name : {"a.mp4", "a.mkv", "a.avi", "a.mov"}) {
    SCOPED_TRACE(name);
    write_test_video(folder_ / name, moving(20));
    Video video = Video::open(folder_ / name);
    EXPECT_NEAR(video.frames_per_second(), 10, 0.6);
    expect_frames_by_number(video, 20);
  }
}

TEST_F(Videos, FramesThatDependOnLaterOnes) {
  for (const char* name : {"b.mp4", "b.mkv"}) {
    SCOPED_TRACE(name);
    write_test_video(folder_ / name, moving(20), {.between_keys = 7, .two_sided_frames = 2});
    expect_frames_by_number(Video::open(folder_ / name), 20);
  }
}

TEST_F(Videos, WebM) {
  write_test_video(folder_ / "a.webm", moving(16), {.codec = "libvpx"});
  expect_frames_by_number(Video::open(folder_ / "a.webm"), 16);
}

TEST_F(Videos, Gif) {
  write_test_video(folder_ / "a.gif", moving(12), {.codec = "gif", .format = AV_PIX_FMT_RGB8});
  Video video = Video::open(folder_ / "a.gif");
  ASSERT_EQ(video.num_frames(), 12);
  std::vector<Image> all = video.read(up_to(12));
  for (int64_t number = 0; number < 12; ++number)
    EXPECT_EQ(video.read({number}).front().pixels, all[static_cast<size_t>(number)].pixels);
  EXPECT_LT(ground(all.front(), 0) + 60, ground(all.back(), 0));
}

TEST_F(Videos, WithoutLossEveryPixelIsKept) {
  std::vector<Image> frames = moving(5, 33, 45);
  write_test_video(folder_ / "exact.mkv", frames, {.codec = "ffv1", .format = AV_PIX_FMT_BGR0});
  std::vector<Image> read = Video::open(folder_ / "exact.mkv").read(up_to(5));
  for (size_t number = 0; number < 5; ++number) EXPECT_EQ(read[number].pixels, frames[number].pixels);
}

#if defined(__x86_64__)  // FFmpeg's conversion to RGB rounds differently on other processors
// Checksums of what PyAV 17.1 gives for the same files, as Frame.to_ndarray(format="rgb24").
TEST_F(Videos, ColoursAreThoseOfPyAv) {
  for (auto [name, checksum] : {std::pair{"h264.mp4", 3379427645}, std::pair{"vp9.webm", 3883804592}}) {
    SCOPED_TRACE(name);
    std::vector<uint8_t> bytes;
    for (const Image& frame : Video::open(test_folder() / name).read(up_to(12)))
      bytes.insert(bytes.end(), frame.pixels.begin(), frame.pixels.end());
    EXPECT_EQ(crc32(bytes), checksum);
  }
}
#endif

TEST_F(Videos, FramesStandUpright) {
  std::vector<Image> frames = moving(3);  // the square lies top left
  auto corner = [&](const Image& image, int64_t y, int64_t x) { return image.row(y)[x * 3 + 2] > 170; };
  for (double degrees : {90.0, 180.0, 270.0}) {
    SCOPED_TRACE(degrees);
    write_test_video(folder_ / "turned.mp4", frames, {.rotation = degrees});
    Image image = Video::open(folder_ / "turned.mp4").read({0}).front();
    bool lies = degrees == 180.0;
    ASSERT_EQ(image.height, lies ? 48 : 64);
    ASSERT_EQ(image.width, lies ? 64 : 48);
    if (degrees == 90.0) {
      EXPECT_TRUE(corner(image, 4, 48 - 9));
    }
    if (degrees == 180.0) {
      EXPECT_TRUE(corner(image, 48 - 9, 64 - 5));
    }
    if (degrees == 270.0) {
      EXPECT_TRUE(corner(image, 64 - 5, 9));
    }
  }
}

TEST_F(Videos, FromMemory) {
  write_test_video(folder_ / "a.mp4", moving(4));
  std::string bytes = read_text(folder_ / "a.mp4");
  Video video = Video::from_bytes(std::as_bytes(std::span(bytes)), "upload");
  EXPECT_EQ(video.num_frames(), 4);
  EXPECT_EQ(video.read({2}).front().pixels, Video::open(folder_ / "a.mp4").read({2}).front().pixels);
}

TEST_F(Videos, FolderOfPictures) {
  std::vector<Image> frames = moving(3);
  for (size_t number = 0; number < 3; ++number)
    write_png(folder_ / ("frame" + std::to_string(number) + ".png"), frames[number]);
  write_text(folder_ / "notes.txt", "no picture");
  Video video = Video::open(folder_);
  EXPECT_EQ(video.num_frames(), 3);
  EXPECT_FALSE(video.is_sampled());
  std::vector<Image> read = video.read({0, 2, 2});
  EXPECT_EQ(read[0].pixels, frames[0].pixels);
  EXPECT_EQ(read[2].pixels, frames[2].pixels);
}

TEST_F(Videos, ChosenFramesAreKept) {
  Video video = Video::from_frames(moving(3));
  EXPECT_TRUE(video.is_sampled());
  EXPECT_EQ(video.num_frames(), 3);
  EXPECT_EQ(video.read({1}).front().pixels, moving(3)[1].pixels);
  EXPECT_NE(message_of([] { Video::from_frames({}); }).find("no frames"), std::string::npos);
}

TEST_F(Videos, WhatIsNoVideoIsSaid) {
  EXPECT_NE(message_of([&] { Video::open(folder_ / "none.mp4"); }).find("no such video"), std::string::npos);
  EXPECT_NE(message_of([&] { Video::open(folder_); }).find("no pictures"), std::string::npos);
  write_text(folder_ / "text.mp4", "this is a text, not a video, whatever its name says");
  EXPECT_NE(message_of([&] { Video::open(folder_ / "text.mp4"); }).find("text.mp4: this is no video"),
            std::string::npos);
  write_text(folder_ / "list.mp4", "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n");
  EXPECT_NE(message_of([&] { Video::open(folder_ / "list.mp4"); }).find("no video"), std::string::npos);
}

TEST_F(Videos, ADamagedFileNeitherCrashesNorHangs) {
  write_test_video(folder_ / "whole.mkv", moving(20));
  std::string bytes = read_text(folder_ / "whole.mkv");
  for (size_t kept : {bytes.size() / 2, bytes.size() / 4, size_t{300}}) {
    std::string part = bytes.substr(0, kept);
    try {
      Video video = Video::from_bytes(std::as_bytes(std::span(part)), "cut.mkv");
      EXPECT_LT(video.num_frames(), 20);
      video.read({0, video.num_frames() - 1});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_request);
    }
  }
  for (size_t at = bytes.size() / 3; at < bytes.size() / 3 + 400; ++at) bytes[at] = static_cast<char>(at * 7);
  try {
    Video video = Video::from_bytes(std::as_bytes(std::span(bytes)), "scratched.mkv");
    EXPECT_EQ(video.read(up_to(video.num_frames())).size(), static_cast<size_t>(video.num_frames()));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_request);
  }
}

TEST_F(Videos, LimitsHold) {
  write_test_video(folder_ / "a.mp4", moving(8));
  VideoLimits few{.max_frames = 5};
  EXPECT_NE(message_of([&] { Video::open(folder_ / "a.mp4", few); }).find("more than 5 frames"),
            std::string::npos);
  VideoLimits small{.max_pixels = 1000};
  EXPECT_NE(message_of([&] { Video::open(folder_ / "a.mp4", small); }).find("a.mp4"), std::string::npos);
  VideoLimits little{.max_read_pixels = 3 * 48 * 64};
  Video video = Video::open(folder_ / "a.mp4", little);
  EXPECT_EQ(video.read({0, 3, 7}).size(), 3u);
  EXPECT_NE(message_of([&] { video.read({0, 1, 2, 3}); }).find("too many"), std::string::npos);
}

}  // namespace
}  // namespace vlm
