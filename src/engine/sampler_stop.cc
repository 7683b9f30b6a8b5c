#include "engine/sampler_stop.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace vlm {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty())
      fail(ErrorKind::bad_request, "leave it out or give it some text", "stop string {} of {} is empty",
           &stop - stops_.data() + 1, stops_.size());
}

std::string StopMatcher::push(std::string_view piece) {
  if (is_hit()) return "";
  held_ += piece;
  size_t best_end = std::string::npos;
  size_t best_begin = std::string::npos;
  for (const std::string& stop : stops_) {
    size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    size_t end = begin + stop.size();
    if (end > best_end || (end == best_end && begin >= best_begin)) continue;
    best_end = end;
    best_begin = begin;
    matched_ = stop;
  }
  if (is_hit()) {
    std::string text = held_.substr(0, best_begin);
    held_.clear();
    return text;
  }
  size_t num_kept = 0;
  for (const std::string& stop : stops_)
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > num_kept; --length)
      if (held_.ends_with(std::string_view(stop).substr(0, length))) num_kept = length;
  std::string text = held_.substr(0, held_.size() - num_kept);
  held_.erase(0, text.size());
  return text;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace vlm
