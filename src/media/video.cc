#include "media/video.h"

#include "base/error.h"

namespace vlm {

struct Video::File {};

Video Video::from_frames(std::vector<Image> frames) {
  if (frames.empty()) fail(ErrorKind::bad_request, "give at least one frame", "the video has no frames");
  Video video;
  video.frames_ = std::move(frames);
  return video;
}

Video Video::open(const std::filesystem::path& file) {
  fail(ErrorKind::unsupported, "give the frames as pictures", "{}: video files are not read yet",
       file.string());
}

bool Video::is_sampled() const {
  return !file_;
}
int64_t Video::num_frames() const {
  return static_cast<int64_t>(frames_.size());
}
double Video::frames_per_second() const {
  return 0;
}

std::vector<Image> Video::read(const std::vector<int64_t>& frames) const {
  std::vector<Image> chosen;
  for (int64_t frame : frames) chosen.push_back(frames_.at(static_cast<size_t>(frame)));
  return chosen;
}

}  // namespace vlm
