// The cursor through which parts ask a checkpoint for their tensors, by the names it was published with.
//
// Asking is registering: every tensor taken is known afterwards by its published name, for training, saving,
// adapters and messages. What is missing, misshapen or never asked for is reported all at once by finish().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"
#include "weights/packed_file.h"
#include "weights/source.h"

namespace vlm {

// How the matrices of linear layers are kept. Norms, biases, convolutions and positions stay float32. bf16
// keeps the values of files in float16 as they are.
enum class Precision { f32, bf16, int8, int4 };
Precision precision_from(const std::string& word);  // throws bad_request
const char* precision_name(Precision precision);

// Names that start with `from` (as the code asks) are looked up under `to` (as this layout publishes them).
// The longest matching `from` wins. Published layouts of one model are tables of these, not branches.
struct Rename {
  std::string from;
  std::string to;
};

// Low-rank adapters on the linear layers whose published name matches one of `targets` (glob patterns).
struct LoraOptions {
  int64_t rank = 0;  // 0: none
  double alpha = 16;
  std::vector<std::string> targets;
};

// Where a model's quantised matrices are kept between runs (weights/packed_file.h).
struct PackedPlace {
  std::filesystem::path file;  // empty: nowhere
  ContentHash key;             // of everything that the matrices are made from
  PackedOrigin origin;
};

namespace nn {
class QuantisedMatrices;  // nn/quantised_matrices.h
class InputStatistics;    // nn/input_statistics.h
}  // namespace nn

struct WeightsOptions {
  Precision precision = Precision::f32;  // trainable: of products, f32 or bf16
  PackedPlace packed_place;
  // Where layers leave the matrices to be quantised when all of them are known; null: each at once.
  std::shared_ptr<nn::QuantisedMatrices> quantised = nullptr;
  std::shared_ptr<nn::InputStatistics> statistics = nullptr;  // of what layers are given; null: none
  bool trainable = false;  // every parameter becomes a float32 leaf of its own
  bool lenient = false;    // finish() logs its report instead of throwing
  LoraOptions lora;
};

// A parameter as training and saving see it.
struct Parameter {
  std::string name;  // as in the checkpoint
  Tensor value;      // shares memory with the part that uses it
};

// Weights of one matrix as the file keeps them in groups along the input: value = quant * scale + minimum.
struct GroupQuantised {
  Tensor quants;    // int8 [out, in] or uint8 [out, in / 2] (two 4-bit values, the first in the low half)
  Tensor scales;    // float32 [out, groups], see tensor/group_layout.h
  Tensor minimums;  // float32 [out, groups]; undefined: symmetric
  // int64 [in]: which input each column belongs to; undefined: the first to the first, ...
  Tensor input_order = {};
  int64_t bits() const { return quants.scalar_type() == at::kChar ? 8 : 4; }
};
Tensor dequantise(const GroupQuantised& matrix);  // float32 [out, in]

// * any run of characters, ? one character, | between whole patterns of which one must match.
bool glob_matches(std::string_view pattern, std::string_view name);

class Weights {
 public:
  Weights(std::shared_ptr<const TensorSource> source, WeightsOptions options,
          std::vector<Rename> renames = {});

  Weights operator/(std::string_view name) const;
  Weights operator/(int64_t idx) const;

  // A parameter in float32. A missing or misshapen one is noted for finish(); a stand-in of the wanted shape
  // is returned.
  Tensor take(std::string_view name, const Shape& shape) const;
  Tensor take_if(std::string_view name, const Shape& shape) const;  // undefined when the checkpoint has none
  // The matrix of a linear layer or an embedding, float32 unless the file's own 16-bit values serve the
  // precision.
  Tensor take_matrix(std::string_view name, const Shape& shape) const;
  // The matrix as the file quantised it; empty when it is not (then nothing is noted), or when training.
  std::optional<GroupQuantised> take_quantised(std::string_view name, const Shape& shape) const;
  // For a matrix that is read later, from source() by its full name: registers it as take_matrix() does,
  // without reading. False when it is missing or misshapen (noted for finish()).
  bool reserve(std::string_view name, const Shape& shape) const;
  // A new parameter that no checkpoint has to hold: taken when it is there, else made by `initial`.
  Tensor take_or_make(std::string_view name, const Shape& shape,
                      const std::function<Tensor()>& initial) const;

  bool has(std::string_view name) const;
  bool has_below() const;  // anything under this prefix
  std::optional<Shape> stored_shape(std::string_view name) const;
  void ignore(std::string_view pattern) const;  // glob below this prefix: stored, but without effect
  void ignore_unused_below() const { ignore("*"); }

  std::string full_name(std::string_view name) const;  // as in the checkpoint
  const WeightsOptions& options() const;
  bool is_abstract() const;  // names and shapes only: parts skip work on values

  // Throws bad_checkpoint with everything missing, misshapen and unused; `system` and `where` go into the
  // message.
  void finish(const std::string& system) const;

  const std::vector<Parameter>& parameters() const;  // in the order taken, each once
  int64_t parameter_count() const;                   // elements of floating-point parameters, each once
  // Every tensor of the checkpoint that was stored but unused (ignored), for saving a complete file again.
  std::vector<std::string> ignored_names() const;
  const TensorSource& source() const;

 private:
  struct Store;
  Weights(std::shared_ptr<Store> store, std::string prefix);
  Tensor stand_in(const Shape& shape) const;
  bool check(const std::string& file_name, const Shape& shape) const;
  Tensor load_float(const std::string& file_name) const;
  Tensor load_order(const std::string& file_name, int64_t count) const;
  Tensor enter(const std::string& file_name, Tensor value) const;

  std::shared_ptr<Store> store_;
  std::string prefix_;
};

}  // namespace vlm
