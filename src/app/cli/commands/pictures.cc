#include "app/cli/commands/pictures.h"

#include "app/cli/commands/transfer.h"
#include "base/error.h"
#include "base/files.h"

namespace vlm::cli {

namespace {
constexpr int64_t kLimitBytes = int64_t{64} << 20;
constexpr int64_t kVideoLimitBytes = int64_t{2} << 30;
}  // namespace

bool is_address(const std::string& name) {
  return name.starts_with("http://") || name.starts_with("https://");
}

std::string read_standard_input(int64_t limit_bytes) {
  return read_text("/dev/stdin", limit_bytes);
}

Image read_picture(const std::string& name) {
  if (name != "-" && !is_address(name)) return read_image(name);
  std::string bytes =
      name == "-" ? read_standard_input(kLimitBytes) : fetch_text(name, {.limit_bytes = kLimitBytes});
  return decode_image(std::as_bytes(std::span(bytes)), name == "-" ? "standard input" : name);
}

std::vector<Image> read_pictures(const std::vector<std::string>& names) {
  std::vector<Image> images;
  for (size_t idx = 0; idx < names.size(); ++idx) {
    auto read = [&] { images.push_back(read_picture(names[idx])); };
    if (names.size() == 1)
      read();
    else
      with_context(fmt::format("picture {} of {}", idx + 1, names.size()), read);
  }
  return images;
}

Video read_video(const std::string& name) {
  if (!is_address(name)) return Video::open(name);
  std::string bytes = fetch_text(name, {.limit_bytes = kVideoLimitBytes});
  return Video::from_bytes(std::as_bytes(std::span(bytes)), name);
}

std::vector<Video> read_videos(const std::vector<std::string>& names) {
  std::vector<Video> videos;
  for (const std::string& name : names) videos.push_back(read_video(name));
  return videos;
}

}  // namespace vlm::cli
