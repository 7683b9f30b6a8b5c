#include "media/video.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "media/video_source.h"

namespace vlm {

namespace fs = std::filesystem;

// A folder of pictures, read when they are asked for.
struct Video::Folder final : Video::Source {
  std::vector<fs::path> files;

  explicit Folder(const fs::path& folder) {
    static const std::set<std::string> kEndings{".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm"};
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::string ending = entry.path().extension().string();
      for (char& letter : ending)
        letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
      if (entry.is_regular_file() && kEndings.contains(ending)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    if (files.empty())
      fail(ErrorKind::bad_request, "give a video file, or a folder with its frames as pictures",
           "{}: no pictures in this folder", folder.string());
  }

  int64_t num_frames() const override { return static_cast<int64_t>(files.size()); }
  double frames_per_second() const override { return 0; }
  std::vector<Image> read(const std::vector<int64_t>& frames) const override {
    std::vector<Image> chosen;
    for (size_t idx = 0; idx < frames.size(); ++idx)
      chosen.push_back(idx > 0 && frames[idx] == frames[idx - 1]
                           ? chosen.back()
                           : read_image(files[static_cast<size_t>(frames[idx])]));
    return chosen;
  }
};

struct Video::File final : Video::Source {
  VideoFile file;

  File(std::shared_ptr<const VideoBytes> bytes, const std::string& name, const VideoLimits& limits)
      : file(std::move(bytes), name, limits) {}
  int64_t num_frames() const override { return file.num_frames(); }
  double frames_per_second() const override { return file.frames_per_second(); }
  std::vector<Image> read(const std::vector<int64_t>& frames) const override { return file.read(frames); }
};

namespace {

struct Mapping final : VideoBytes {
  std::shared_ptr<const MappedFile> file;
  std::span<const std::byte> bytes() const override { return file->bytes(); }
};

struct Copy final : VideoBytes {
  std::vector<std::byte> data;
  std::span<const std::byte> bytes() const override { return data; }
};

}  // namespace

Video Video::from_frames(std::vector<Image> frames) {
  if (frames.empty()) fail(ErrorKind::bad_request, "give at least one frame", "the video has no frames");
  Video video;
  video.frames_ = std::move(frames);
  return video;
}

Video Video::open(const fs::path& file, const VideoLimits& limits) {
  if (!fs::exists(file))
    fail(ErrorKind::not_found, "check the name of the file", "{}: no such video", file.string());
  Video video;
  if (fs::is_directory(file)) {
    video.source_ = std::make_shared<Folder>(file);
    return video;
  }
  auto mapping = std::make_shared<Mapping>();
  mapping->file = MappedFile::open(file);
  video.source_ = std::make_shared<File>(std::move(mapping), file.filename().string(), limits);
  return video;
}

Video Video::from_bytes(std::span<const std::byte> bytes, const std::string& name,
                        const VideoLimits& limits) {
  auto copy = std::make_shared<Copy>();
  copy->data.assign(bytes.begin(), bytes.end());
  Video video;
  video.source_ = std::make_shared<File>(std::move(copy), name, limits);
  return video;
}

bool Video::is_sampled() const {
  return !source_;
}

int64_t Video::num_frames() const {
  return source_ ? source_->num_frames() : static_cast<int64_t>(frames_.size());
}

double Video::frames_per_second() const {
  return source_ ? source_->frames_per_second() : 0;
}

std::vector<Image> Video::read(const std::vector<int64_t>& frames) const {
  for (size_t idx = 0; idx < frames.size(); ++idx) {
    VLM_CHECK(frames[idx] >= 0 && frames[idx] < num_frames(), "frame {} of {}", frames[idx], num_frames());
    VLM_CHECK(idx == 0 || frames[idx] >= frames[idx - 1], "frame {} behind frame {}", frames[idx],
              frames[idx - 1]);
  }
  if (source_) return source_->read(frames);
  std::vector<Image> chosen;
  for (int64_t frame : frames) chosen.push_back(frames_[static_cast<size_t>(frame)]);
  return chosen;
}

}  // namespace vlm
