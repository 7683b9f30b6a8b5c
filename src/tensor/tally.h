// What passes multiply, read and wait for, by kind of operation: what `vlm bench` holds against the machine's
// own roofs, and its profile. Costs a branch when nobody counts.
//
//   tally::Span span("attention");
//   if (span) span.add({.float_operations = 4.0 * pairs * width, .bytes = ...}, "577 x 577 x 64");
//
// Operations are those of products, a multiplication and an addition each; bytes are those of weights, keys
// and values, which every pass reads from memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace vlm::tally {

struct Work {
  double float_operations = 0;   // on float32 values
  double half_operations = 0;    // on 16-bit floats
  double byte_operations = 0;    // on 8-bit values
  double nibble_operations = 0;  // of 8-bit activations with 4-bit weights
  double bytes = 0;

  Work& operator+=(const Work& other);
  double operations() const {
    return float_operations + half_operations + byte_operations + nibble_operations;
  }
};

struct Entry {
  Work work;
  double seconds = 0;
  int64_t calls = 0;
};

// Counts what this thread asks for while it lives; nested ones replace the outer one.
class Count {
 public:
  Count();
  ~Count();
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;

  const std::map<std::string, Entry>& entries() const { return entries_; }  // by kind
  const std::map<std::string, Entry>& shapes() const { return shapes_; }    // by "kind shape"
  Work work() const;                                                        // of all entries

 private:
  friend class Span;
  std::map<std::string, Entry> entries_, shapes_;
  Count* previous_;
  int depth_ = 0;
};

// One operation. Time is taken by the outermost alone, so that seconds add up.
class Span {
 public:
  explicit Span(const char* kind);
  ~Span();
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

  explicit operator bool() const { return count_ != nullptr; }
  void add(const Work& work, const std::string& shape);

 private:
  Count* count_;
  const char* kind_;
  std::string shape_;
  Work work_;
  double start_ = 0;
};

}  // namespace vlm::tally
