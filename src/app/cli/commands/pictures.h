// Pictures and videos as the command line names them: a file, "-" for standard input, an http(s) address.
#pragma once

#include <string>
#include <vector>

#include "media/image.h"
#include "media/video.h"

namespace vlm::cli {

bool is_address(const std::string& name);
Image read_picture(const std::string& name);
// Errors name the picture's place: "picture 2 of 3".
std::vector<Image> read_pictures(const std::vector<std::string>& names);

// Videos likewise: a file, a folder with the frames as pictures, an http(s) address.
Video read_video(const std::string& name);
std::vector<Video> read_videos(const std::vector<std::string>& names);

// All of standard input; bad_request beyond the limit.
std::string read_standard_input(int64_t limit_bytes);

}  // namespace vlm::cli
