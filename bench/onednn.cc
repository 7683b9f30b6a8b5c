#include "bench/onednn.h"

#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

namespace vlm::bench {

namespace {

using dnnl::memory;

struct Product {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul matmul;
  memory x, weights, y;

  Product(OneDnnKind kind, int64_t rows, int64_t in, int64_t out) {
    using Type = memory::data_type;
    bool is_float = kind == OneDnnKind::f32;
    Type x_type = is_float ? Type::f32 : kind == OneDnnKind::u8s8 ? Type::u8 : Type::s8;
    memory::desc x_desc({rows, in}, x_type, memory::format_tag::ab);
    memory::desc w_desc({in, out}, is_float ? Type::f32 : Type::s8, memory::format_tag::any);
    memory::desc y_desc({rows, out}, is_float ? Type::f32 : Type::s32, memory::format_tag::ab);
    dnnl::matmul::primitive_desc desc({x_desc, w_desc, y_desc}, engine);
    matmul = dnnl::matmul(desc);
    x = memory(desc.src_desc(), engine);
    weights = memory(desc.weights_desc(), engine);
    y = memory(desc.dst_desc(), engine);
    std::memset(x.get_data_handle(), 1, desc.src_desc().get_size());
    std::memset(weights.get_data_handle(), 1, desc.weights_desc().get_size());
  }

  void run() {
    matmul.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, y}});
    stream.wait();
  }
};

}  // namespace

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

std::vector<OneDnnKind> onednn_kinds() {
  return {OneDnnKind::f32, OneDnnKind::s8s8, OneDnnKind::u8s8};
}

const char* onednn_name(OneDnnKind kind) {
  switch (kind) {
    case OneDnnKind::f32:
      return "oneDNN float32";
    case OneDnnKind::s8s8:
      return "oneDNN s8 x s8";
    case OneDnnKind::u8s8:
      return "oneDNN u8 x s8";
  }
  return "";
}

std::function<void()> onednn_product(OneDnnKind kind, int64_t rows, int64_t in, int64_t out) {
  auto product = std::make_shared<Product>(kind, rows, in, out);
  return [product] { product->run(); };
}

}  // namespace vlm::bench
