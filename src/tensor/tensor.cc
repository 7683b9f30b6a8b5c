#include "tensor/tensor.h"

#include "tensor/blas_core.h"

namespace vlm {

namespace {

// When the library is loaded, mostly before main: later there may be threads that multiply. In this file
// because no program of tensors is linked without it.
[[gnu::constructor]] void mend_choice_of_kernels() {
  use_better_blas_core();
}

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + (shape[axis] == kAny ? "*" : std::to_string(shape[axis]));
  return text + "]";
}

std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kShort:
      return "int16";
    case at::kChar:
      return "int8";
    case at::kByte:
      return "uint8";
    case at::kBool:
      return "bool";
    default:
      return at::toString(type);
  }
}

std::string describe(const Tensor& tensor) {
  return tensor.defined() ? dtype_name(tensor.scalar_type()) + " " + shape_text(tensor.sizes())
                          : "(no tensor)";
}

void check_shape(const Tensor& tensor, const char* name, at::IntArrayRef wanted) {
  bool fits = tensor.defined() && tensor.dim() == static_cast<int64_t>(wanted.size());
  for (int64_t axis = 0; fits && axis < tensor.dim(); ++axis)
    fits =
        wanted[static_cast<size_t>(axis)] == kAny || tensor.size(axis) == wanted[static_cast<size_t>(axis)];
  VLM_CHECK(fits, "{} is {}, wanted {}", name, describe(tensor), shape_text(wanted));
}

std::vector<float> to_floats(const Tensor& tensor) {
  Tensor flat = tensor.detach().to(at::kFloat).contiguous();
  return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
}

std::vector<int64_t> to_ids(const Tensor& tensor) {
  Tensor flat = tensor.to(at::kLong).contiguous();
  return std::vector<int64_t>(flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel());
}

Tensor ids_tensor(const std::vector<int64_t>& ids) {
  return at::from_blob(const_cast<int64_t*>(ids.data()), {static_cast<int64_t>(ids.size())}, at::kLong)
      .clone();
}

namespace trace {

namespace {
thread_local Sink* current = nullptr;
}

Scope::Scope(Sink* sink) : previous_(current) {
  current = sink;
}
Scope::~Scope() {
  current = previous_;
}

bool listening() {
  return current != nullptr;
}

Tensor point(const char* name, Tensor tensor) {
  if (current) current->record(name, tensor);
  return tensor;
}

Tensor point(const char* name, int64_t idx, Tensor tensor) {
  if (current) current->record(fmt::format("{}/{}", name, idx), tensor);
  return tensor;
}

}  // namespace trace

}  // namespace vlm
