#include "app/capi/findings.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace vlm::v0 {

void* allocate(size_t bytes) {
  void* memory = std::malloc(std::max<size_t>(bytes, 1));
  if (!memory) throw std::bad_alloc();
  return memory;
}

namespace {

// One piece of memory for structs of different types: first counted, then filled.
class Block {
 public:
  template <typename Type>
  void count(size_t num) {
    bytes_ = aligned<Type>(bytes_) + num * sizeof(Type);
  }
  void start() { memory_ = static_cast<char*>(allocate(bytes_)), bytes_ = 0; }
  template <typename Type>
  Type* take(size_t num) {
    Type* place = reinterpret_cast<Type*>(memory_ + aligned<Type>(bytes_));
    count<Type>(num);
    return place;
  }
  // Counts before start(), copies after it.
  const char* text(const std::string& text) {
    if (!memory_) return count<char>(text.size() + 1), nullptr;
    return static_cast<const char*>(std::memcpy(take<char>(text.size() + 1), text.c_str(), text.size() + 1));
  }
  template <typename Type>
  const Type* copy(const std::vector<Type>& values) {
    if (values.empty()) return nullptr;
    if (!memory_) return count<Type>(values.size()), nullptr;
    Type* place = take<Type>(values.size());
    std::copy(values.begin(), values.end(), place);
    return place;
  }
  template <typename Type>
  Type* make(size_t num) {
    if (!memory_) return count<Type>(num), nullptr;
    return take<Type>(num);
  }

 private:
  template <typename Type>
  static size_t aligned(size_t bytes) {
    return (bytes + alignof(Type) - 1) / alignof(Type) * alignof(Type);
  }
  char* memory_ = nullptr;
  size_t bytes_ = 0;
};

void fill_region(const Region& from, vlm_region* region, Block& block) {
  std::vector<size_t> num_corners;
  std::vector<double> corners;
  for (const auto& part : from.polygons) {
    num_corners.push_back(part.size());
    for (const Point& corner : part) corners.insert(corners.end(), corner.begin(), corner.end());
  }
  vlm_region filled{};
  filled.struct_size = sizeof filled;
  filled.label = block.text(from.label);
  filled.image = from.image;
  filled.has_score = from.score.has_value(), filled.has_box = from.box.has_value();
  filled.has_point = from.point.has_value(), filled.has_quad = from.quad.has_value();
  filled.has_span = from.span.has_value();
  filled.score = from.score.value_or(0);
  if (from.box) std::copy(from.box->begin(), from.box->end(), filled.box);
  if (from.point) std::copy(from.point->begin(), from.point->end(), filled.point);
  if (from.quad) std::copy(from.quad->begin(), from.quad->end(), filled.quad);
  if (from.span) std::copy(from.span->begin(), from.span->end(), filled.span);
  filled.num_polygons = from.polygons.size();
  filled.num_corners = block.copy(num_corners);
  filled.corners = block.copy(corners);
  filled.mask = block.copy(from.mask);
  filled.mask_size = from.mask.size();
  if (region) *region = filled;
}

vlm_findings* fill_findings(const Answer& answer, Block& block) {
  auto* findings = block.make<vlm_findings>(1);
  auto* regions = block.make<vlm_region>(answer.regions.size());
  auto* region_list = block.make<const vlm_region*>(answer.regions.size());
  auto* calls = block.make<vlm_call>(answer.calls.size());
  auto* call_list = block.make<const vlm_call*>(answer.calls.size());
  const char* text = block.text(answer.plain_text);
  for (size_t idx = 0; idx < answer.regions.size(); ++idx) {
    fill_region(answer.regions[idx], regions ? regions + idx : nullptr, block);
    if (regions) region_list[idx] = regions + idx;
  }
  for (size_t idx = 0; idx < answer.calls.size(); ++idx) {
    vlm_call filled{sizeof(vlm_call), block.text(answer.calls[idx].name),
                    block.text(answer.calls[idx].arguments)};
    if (calls) calls[idx] = filled, call_list[idx] = calls + idx;
  }
  if (findings)
    *findings = {sizeof(vlm_findings),  text,      region_list,
                 answer.regions.size(), call_list, answer.calls.size()};
  return findings;
}

}  // namespace

Memory<vlm_findings> copy_findings(const Answer& answer) {
  Block block;
  fill_findings(answer, block);
  block.start();
  return Memory<vlm_findings>(fill_findings(answer, block));
}

}  // namespace vlm::v0
