// Moving pictures: a file decoded frame by frame with FFmpeg, or a list of frames.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "media/image.h"

namespace vlm {

class Video {
 public:
  // Frames that somebody chose already: systems use them as they are, without sampling.
  static Video from_frames(std::vector<Image> frames);
  // Reads headers and counts frames, decodes none. Throws bad_request for what is no video, or an absurd one.
  static Video open(const std::filesystem::path& file);

  bool is_sampled() const;  // made by from_frames()
  int64_t num_frames() const;
  double frames_per_second() const;  // mean; 0 for from_frames()
  // Frames by number, ascending; only these are held in memory. Repeated numbers give repeated frames.
  std::vector<Image> read(const std::vector<int64_t>& frames) const;

 private:
  struct File;
  std::vector<Image> frames_;
  std::shared_ptr<const File> file_;
};

}  // namespace vlm
