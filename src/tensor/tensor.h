// The tensor type, and checks of shapes that produce readable messages.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace vlm {

using Tensor = at::Tensor;
using Shape = std::vector<int64_t>;

std::string shape_text(at::IntArrayRef shape);  // "[4096, 4096]"
std::string describe(const Tensor& tensor);     // "float32 [4096, 4096]"
std::string dtype_name(at::ScalarType type);    // "float32", "bfloat16", ...

// A free dimension in VLM_SHAPE.
constexpr int64_t kAny = -1;

void check_shape(const Tensor& tensor, const char* name, at::IntArrayRef wanted);

// Copies a tensor to contiguous float32 / int64 host values, for code above that must not touch ATen.
std::vector<float> to_floats(const Tensor& tensor);
std::vector<int64_t> to_ids(const Tensor& tensor);
Tensor ids_tensor(const std::vector<int64_t>& ids);  // int64 [T]

namespace trace {

// Named intermediates, by FORMAT.md's names ("image_features", "hidden/vision/3"). Costs a branch when nobody
// listens.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void record(const std::string& name, const Tensor& tensor) = 0;
};

// Listens on this thread while it lives; nested listeners replace the outer one.
class Scope {
 public:
  explicit Scope(Sink* sink);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Sink* previous_;
};

bool listening();
Tensor point(const char* name, Tensor tensor);               // returns `tensor` unchanged
Tensor point(const char* name, int64_t idx, Tensor tensor);  // "<name>/<idx>"

}  // namespace trace

}  // namespace vlm

// Checks a tensor at the entrance of a function: VLM_SHAPE(x_BTD, B, T, cfg.hidden_size); kAny leaves an axis
// free.
#define VLM_SHAPE(tensor, ...) ::vlm::check_shape(tensor, #tensor, {__VA_ARGS__})
