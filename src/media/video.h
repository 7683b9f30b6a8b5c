// Moving pictures: a file decoded frame by frame with FFmpeg, or a list of frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "media/image.h"

namespace vlm {

struct VideoLimits {
  int64_t max_pixels = int64_t{64} << 20;         // of a frame
  int64_t max_frames = int64_t{4} << 20;          // of the file: two days at 24 a second
  int64_t max_read_pixels = int64_t{1} << 31;     // of all frames that one read() returns
  int64_t max_decoded_frames = int64_t{1} << 40;  // on the way to them
};

class Video {
 public:
  // Frames that somebody chose already: systems use them as they are, without sampling.
  static Video from_frames(std::vector<Image> frames);
  // MP4, MOV, WebM, MKV, AVI, GIF, OGG, MPEG and FLV, or a folder of pictures in the order of their names.
  // Reads headers and counts frames, decodes none. Throws not_found, or bad_request for what is no video, or
  // an absurd one.
  static Video open(const std::filesystem::path& file, const VideoLimits& limits = {});
  // The same from memory, which is copied. `name` is how messages call the video.
  static Video from_bytes(std::span<const std::byte> bytes, const std::string& name,
                          const VideoLimits& limits = {});

  bool is_sampled() const;  // made by from_frames()
  int64_t num_frames() const;
  double frames_per_second() const;  // mean; 0 for from_frames() and folders
  // Frames by number, ascending; only these are held in memory. Repeated numbers give repeated frames. Frames
  // are upright, 8-bit RGB, as large as they are stored (no correction of oblong pixels).
  std::vector<Image> read(const std::vector<int64_t>& frames) const;

 private:
  struct Source;
  struct File;
  struct Folder;
  std::vector<Image> frames_;
  std::shared_ptr<const Source> source_;
};

}  // namespace vlm
