// Where a video's frames come from. Internal to media/.
#pragma once

#include "media/video.h"

namespace vlm {

struct Video::Source {
  virtual ~Source() = default;
  virtual int64_t num_frames() const = 0;
  virtual double frames_per_second() const = 0;
  virtual std::vector<Image> read(const std::vector<int64_t>& frames) const = 0;  // ascending, within range
};

// Memory that a video is decoded from.
struct VideoBytes {
  virtual ~VideoBytes() = default;
  virtual std::span<const std::byte> bytes() const = 0;
};

// A container with a video stream. The file is demuxed once to learn when each frame is shown and from which
// it can be decoded; every read() opens its own decoder, so reads may run in parallel.
class VideoFile {
 public:
  VideoFile(std::shared_ptr<const VideoBytes> bytes, std::string name, const VideoLimits& limits);

  int64_t num_frames() const { return static_cast<int64_t>(frames_.size()); }
  double frames_per_second() const { return frames_per_second_; }
  std::vector<Image> read(const std::vector<int64_t>& frames) const;

 private:
  // A frame in the order of presentation.
  struct Entry {
    int64_t time = 0;  // in the stream's time base
    bool is_key = false;
  };

  std::shared_ptr<const VideoBytes> bytes_;
  std::string name_;
  VideoLimits limits_;
  std::vector<Entry> frames_;
  bool has_times_ = true;  // false: frames can only be counted from the start
  double frames_per_second_ = 0;
};

}  // namespace vlm
