#include "tensor/tally.h"

#include <chrono>

namespace vlm::tally {

namespace {

thread_local Count* current = nullptr;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Work& Work::operator+=(const Work& other) {
  float_operations += other.float_operations;
  half_operations += other.half_operations;
  byte_operations += other.byte_operations;
  nibble_operations += other.nibble_operations;
  bytes += other.bytes;
  return *this;
}

Count::Count() : previous_(current) {
  current = this;
}
Count::~Count() {
  current = previous_;
}

Work Count::work() const {
  Work sum;
  for (const auto& [kind, entry] : entries_) sum += entry.work;
  return sum;
}

Span::Span(const char* kind) : count_(current), kind_(kind) {
  if (count_ && count_->depth_++ == 0) start_ = now();
}

Span::~Span() {
  if (!count_) return;
  double seconds = --count_->depth_ == 0 ? now() - start_ : 0;
  auto enter = [&](Entry& entry) {
    entry.work += work_;
    entry.seconds += seconds;
    ++entry.calls;
  };
  enter(count_->entries_[kind_]);
  if (!shape_.empty()) enter(count_->shapes_[std::string(kind_) + " " + shape_]);
}

void Span::add(const Work& work, const std::string& shape) {
  work_ += work;
  shape_ = shape;
}

}  // namespace vlm::tally
