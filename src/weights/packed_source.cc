#include "weights/packed_source.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "base/files.h"
#include "base/parallel.h"

namespace vlm {

namespace {

constexpr char kWeights[] = ".qweight", kZeros[] = ".qzeros", kScales[] = ".scales", kGroups[] = ".g_idx";
constexpr char kHint[] =
    "compare config.json's quantization_config and the weight files with the published ones";
// AutoAWQ's order: nibble i of a word is output kAwqOrder[i] of its eight.
constexpr std::array<int64_t, 8> kAwqOrder{0, 2, 4, 6, 1, 3, 5, 7};
constexpr int64_t kWordBits = 32;
constexpr int64_t kInt8Middle = 128;  // quants of 8 bits are kept with a sign

struct Packing {
  bool is_awq = false;
  int64_t bits = 4;
  int64_t group_size = 128;  // inputs that share a scale; -1: all
  int64_t zero_offset = 0;   // what GPTQ's first format takes off a zero point before it is stored
  int64_t values_per_word() const { return kWordBits / bits; }
  int64_t mask() const { return (int64_t{1} << bits) - 1; }
};

struct Layer {
  int64_t in = 0, out = 0, groups = 0;
  Tensor group_of_input;     // int64 [in], GPTQ: which scales and zero points an input has
  Tensor order;              // int64 [in]: inputs sorted by group, where they do not lie so
  bool is_regular = true;    // groups are equally long; otherwise the matrix is served as floats
  bool has_minimums = true;  // false: 8 bits around zero
};

Packing packing_from(const Json& json) {
  Packing packing;
  std::string method = json.get("quant_method", "gptq");
  packing.is_awq = method == "awq";
  packing.group_size = json.get<int64_t>("group_size", json.get<int64_t>("q_group_size", 128));
  packing.bits = json.get<int64_t>("bits", json.get<int64_t>("w_bit", 4));
  std::string format = json.get("checkpoint_format", "gptq"), version = json.get("version", "gemm");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (packing.bits != 4 && (packing.bits != 8 || packing.is_awq))
    fail(ErrorKind::unsupported, "known: gptq with 4 or 8 bits, awq with 4",
         "{}: {} bits by {} are not implemented", json.path(), packing.bits, method);
  if (packing.is_awq && version != "gemm")
    fail(ErrorKind::unsupported, "known: gemm, the layout of published AWQ files",
         "{}: version \"{}\" is not implemented", json.path(), version);
  if (!packing.is_awq && format != "gptq" && format != "gptq_v2")
    fail(ErrorKind::unsupported, "known: gptq, gptq_v2", "{}: checkpoint_format \"{}\" is not implemented",
         json.path(), format);
  packing.zero_offset = packing.is_awq || format == "gptq_v2" ? 0 : 1;
  json.ignore_all();
  return packing;
}

// Words [rows, columns] to int32 values [rows, columns * values_per_word], along the columns.
Tensor unpack_columns(const Tensor& words, const Packing& packing) {
  std::vector<Tensor> slots(static_cast<size_t>(packing.values_per_word()));
  for (int64_t idx = 0; idx < packing.values_per_word(); ++idx) {
    int64_t place = packing.is_awq ? kAwqOrder[static_cast<size_t>(idx)] : idx;
    slots[static_cast<size_t>(place)] =
        words.to(at::kInt).__rshift__(packing.bits * idx).bitwise_and(packing.mask());
  }
  return at::stack(slots, 2).flatten(1);
}

// GPTQ's words hold neighbouring inputs of one output, the first in the lowest bits: transposed, they are the
// bytes that are wanted.
Tensor gptq_quants(const Tensor& words_WO) {
  return words_WO.to(at::kInt).t().contiguous().view(at::kByte);
}

// AWQ's words hold neighbouring outputs of one input: uint8 [out, in / 2].
Tensor awq_quants(const Tensor& words_IW) {
  constexpr int64_t kBlock = 16;  // words of a cache line
  Tensor words = words_IW.to(at::kInt).contiguous();
  int64_t in = words.size(0), columns = words.size(1);
  Tensor quants = at::empty({columns * 8, in / 2}, at::kByte);
  const auto* from = reinterpret_cast<const uint32_t*>(words.data_ptr<int32_t>());
  uint8_t* to = quants.data_ptr<uint8_t>();
  parallel_for(0, (columns + kBlock - 1) / kBlock, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block)
      for (int64_t input = 0; input < in; input += 2)
        for (int64_t column = block * kBlock; column < std::min((block + 1) * kBlock, columns); ++column) {
          uint32_t low = from[input * columns + column], high = from[(input + 1) * columns + column];
          for (size_t idx = 0; idx < kAwqOrder.size(); ++idx) {
            uint32_t shift = static_cast<uint32_t>(4 * idx);
            int64_t output = column * 8 + kAwqOrder[idx];
            to[output * (in / 2) + input / 2] =
                static_cast<uint8_t>(((low >> shift) & 15) | (((high >> shift) & 15) << 4));
          }
        }
  });
  return quants;
}

class PackedSource final : public TensorSource {
 public:
  PackedSource(std::shared_ptr<const TensorSource> source, const Packing& packing)
      : source_(std::move(source)), packing_(packing) {
    for (const std::string& name : source_->names())
      if (name.ends_with(kWeights))
        add_layer(name.substr(0, name.size() - std::string_view(kWeights).size()));
    for (const std::string& name : source_->names())
      if (!is_packed(name)) names_.insert(name);
    for (const auto& [stem, layer] : layers_)
      for (const std::string& name : served(stem, layer)) names_.insert(name);
  }
  bool has_layers() const { return !layers_.empty(); }

  std::vector<std::string> names() const override {
    std::vector<std::string> shown;
    for (const std::string& name : names_)
      if (!hidden_.count(name)) shown.push_back(name);
    return shown;
  }
  bool has(const std::string& name) const override { return names_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override;
  Tensor load(const std::string& name) const override;
  std::string describe() const override { return source_->describe(); }
  std::vector<std::filesystem::path> files() const override { return source_->files(); }
  bool is_abstract() const override { return source_->is_abstract(); }

 private:
  int64_t group_size(const Layer& layer) const {
    return packing_.group_size > 0 ? packing_.group_size : layer.in;
  }
  int64_t stored_bytes(const std::string& stem) const {
    int64_t bytes = 0;
    for (const char* leaf : {kWeights, kZeros, kScales, kGroups})
      if (source_->has(stem + leaf)) bytes += source_->info(stem + leaf).file_bytes;
    return bytes;
  }
  void add_layer(const std::string& stem);
  void sort_inputs(const std::string& stem, Layer& layer) const;
  bool is_packed(const std::string& name) const {
    size_t dot = name.rfind('.');
    if (dot == std::string::npos || !layers_.count(name.substr(0, dot))) return false;
    std::string leaf = name.substr(dot);
    return leaf == kWeights || leaf == kZeros || leaf == kScales || leaf == kGroups;
  }
  std::vector<std::string> served(const std::string& stem, const Layer& layer) const {
    std::vector<std::string> names{stem + ".weight"};
    if (is_abstract() || !layer.is_regular) return names;
    names.push_back(stem + ".weight_scale");
    if (layer.has_minimums) names.push_back(stem + ".weight_min");
    if (layer.order.defined()) names.push_back(stem + ".weight_order");
    return names;
  }
  // The layer that a served name belongs to, and what follows the layer's name; null for names of the file.
  std::pair<const Layer*, std::string> find(const std::string& name, std::string& stem) const {
    size_t dot = name.rfind('.');
    if (dot == std::string::npos || source_->has(name)) return {nullptr, ""};
    stem = name.substr(0, dot);
    auto found = layers_.find(stem);
    return {found == layers_.end() ? nullptr : &found->second, name.substr(dot)};
  }
  Tensor zeros(const std::string& stem) const;   // float32 [groups, out]
  Tensor scales(const std::string& stem) const;  // float32 [groups, out]
  Tensor quants(const std::string& stem, const Layer& layer) const;
  Tensor floats(const std::string& stem, const Layer& layer) const;

  std::shared_ptr<const TensorSource> source_;
  Packing packing_;
  std::map<std::string, Layer> layers_;
  std::set<std::string> names_, hidden_;
};

void PackedSource::add_layer(const std::string& stem) {
  auto info_of = [&](const char* leaf) {
    if (!source_->has(stem + leaf))
      fail(ErrorKind::bad_checkpoint, "get the weight files again", "{}: {}.qweight has no {}{} beside it",
           describe(), stem, stem, leaf);
    return source_->info(stem + leaf);
  };
  TensorInfo weights = info_of(kWeights), zeros = info_of(kZeros), scales = info_of(kScales);
  int64_t per_word = packing_.values_per_word();
  bool fits = weights.dtype == at::kInt && zeros.dtype == at::kInt && at::isFloatingType(scales.dtype) &&
              weights.shape.size() == 2 && scales.shape.size() == 2 && scales.shape[0] > 0;
  Layer layer;
  if (fits) {
    layer.in = weights.shape[0] * (packing_.is_awq ? 1 : per_word);
    layer.out = weights.shape[1] * (packing_.is_awq ? per_word : 1);
    layer.groups = scales.shape[0];
    fits = layer.in > 0 && layer.in % 2 == 0 && layer.groups <= layer.in && scales.shape[1] == layer.out &&
           layer.groups == (layer.in + group_size(layer) - 1) / group_size(layer) &&
           layer.out % per_word == 0 && zeros.shape == Shape{layer.groups, layer.out / per_word};
  }
  if (!fits)
    fail(ErrorKind::bad_checkpoint, kHint,
         "{}: {} does not hold a matrix of {} bits: qweight {}, qzeros {}, scales {}", describe(), stem,
         packing_.bits, shape_text(weights.shape), shape_text(zeros.shape), shape_text(scales.shape));
  layer.is_regular = layer.in % group_size(layer) == 0;
  if (!is_abstract()) {
    if (source_->has(stem + kGroups)) sort_inputs(stem, layer);
    if (packing_.bits == 8) layer.has_minimums = (this->zeros(stem) != kInt8Middle).any().item<bool>();
  }
  // AutoGPTQ stores a bias of zeros for layers that have none: nobody asks for it.
  std::string bias = stem + ".bias";
  if (!packing_.is_awq && source_->has(bias) &&
      (is_abstract() || (source_->load(bias) == 0).all().item<bool>()))
    hidden_.insert(bias);
  layers_.emplace(stem, std::move(layer));
}

// Activation order (desc_act): inputs were quantised from the most to the least active, so that those of one
// group lie apart.
void PackedSource::sort_inputs(const std::string& stem, Layer& layer) const {
  Tensor groups = source_->load(stem + kGroups).to(at::kLong);
  if (groups.sizes() != at::IntArrayRef({layer.in}) || groups.min().item<int64_t>() < 0 ||
      groups.max().item<int64_t>() >= layer.groups)
    fail(ErrorKind::bad_checkpoint, kHint, "{}: {}{} does not sort {} inputs into {} groups", describe(),
         stem, kGroups, layer.in, layer.groups);
  layer.group_of_input = groups;
  Tensor counted = at::arange(layer.in, at::kLong).floor_divide(group_size(layer));
  if (layer.is_regular && at::equal(groups, counted)) return;
  auto [sorted, order] = groups.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  layer.is_regular = layer.is_regular && at::equal(sorted, counted);
  layer.order = order;
}

TensorInfo PackedSource::info(const std::string& name) const {
  std::string stem;
  auto [layer, leaf] = find(name, stem);
  if (!layer) return source_->info(name);
  TensorInfo packed = source_->info(stem + (leaf == ".weight"       ? kWeights
                                            : leaf == ".weight_min" ? kZeros
                                                                    : kScales));
  if (leaf == ".weight_order") return {{layer->in}, at::kLong, layer->in * 4};
  if (leaf != ".weight") return {{layer->out, layer->groups}, at::kFloat, packed.file_bytes};
  if (is_abstract()) return {{layer->out, layer->in}, at::kHalf, stored_bytes(stem)};
  if (!layer->is_regular) return {{layer->out, layer->in}, at::kFloat, layer->out * layer->in * 2};
  if (packing_.bits == 8) return {{layer->out, layer->in}, at::kChar, packed.file_bytes};
  return {{layer->out, layer->in / 2}, at::kByte, packed.file_bytes};
}

Tensor PackedSource::zeros(const std::string& stem) const {
  Tensor stored = unpack_columns(source_->load(stem + kZeros), packing_);
  // The offset is added within the bits: a zero point of 0 is stored as the largest value.
  return (stored + packing_.zero_offset).bitwise_and(packing_.mask()).to(at::kFloat);
}

Tensor PackedSource::scales(const std::string& stem) const {
  return source_->load(stem + kScales).to(at::kFloat);
}

Tensor PackedSource::quants(const std::string& stem, const Layer& layer) const {
  Tensor words = source_->load(stem + kWeights);
  if (packing_.is_awq) return awq_quants(words);
  Tensor quants = gptq_quants(words);
  if (packing_.bits == 8) {
    if (layer.order.defined()) quants = quants.index_select(1, layer.order);
    return quants.bitwise_xor(kInt8Middle).view(at::kChar);
  }
  if (!layer.order.defined()) return quants;
  Tensor values = at::stack({quants.bitwise_and(15), quants.__rshift__(4)}, 2).flatten(1);
  values = values.index_select(1, layer.order).view({layer.out, layer.in / 2, 2});
  return values.select(2, 0).bitwise_or(values.select(2, 1).__lshift__(4));
}

Tensor PackedSource::floats(const std::string& stem, const Layer& layer) const {
  Tensor words = source_->load(stem + kWeights);
  Tensor values_IO = packing_.is_awq ? unpack_columns(words, packing_)
                                     : unpack_columns(words.t().contiguous(), packing_).t();
  Tensor groups = layer.group_of_input.defined()
                      ? layer.group_of_input
                      : at::arange(layer.in, at::kLong).floor_divide(group_size(layer));
  Tensor weight_IO =
      (values_IO.to(at::kFloat) - zeros(stem).index_select(0, groups)) * scales(stem).index_select(0, groups);
  return weight_IO.t().contiguous();
}

Tensor PackedSource::load(const std::string& name) const {
  std::string stem;
  auto [layer, leaf] = find(name, stem);
  if (!layer) return source_->load(name);
  if (is_abstract()) return at::zeros({}, at::kHalf).expand(info(name).shape);
  if (leaf == ".weight") return layer->is_regular ? quants(stem, *layer) : floats(stem, *layer);
  if (leaf == ".weight_order") return layer->order;
  if (leaf == ".weight_scale") return scales(stem).t().contiguous();
  double middle = packing_.bits == 8 ? kInt8Middle : 0;
  return ((middle - zeros(stem)) * scales(stem)).t().contiguous();
}

}  // namespace

std::shared_ptr<const TensorSource> unpack_source(std::shared_ptr<const TensorSource> source,
                                                  const Json& quantization_config) {
  if (quantization_config.is_null() || source->invents_names()) return source;
  std::string method = quantization_config.get("quant_method", "gptq");
  if (method != "gptq" && method != "awq") return source;
  auto packed = std::make_shared<PackedSource>(source, packing_from(quantization_config));
  if (!packed->has_layers()) return source;
  return packed;
}

}  // namespace vlm
