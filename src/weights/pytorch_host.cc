#include "weights/pytorch_host.h"

#include <algorithm>

namespace vlm {

namespace {

using Kind = PickleNode::Kind;

struct Word {
  const char* word;
  at::ScalarType type;
};
constexpr Word kStorages[] = {
    {"DoubleStorage", at::kDouble},     {"FloatStorage", at::kFloat},  {"HalfStorage", at::kHalf},
    {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},    {"IntStorage", at::kInt},
    {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},    {"ByteStorage", at::kByte},
    {"BoolStorage", at::kBool},         {"UntypedStorage", at::kByte},
};
constexpr Word kDtypes[] = {
    {"float64", at::kDouble}, {"double", at::kDouble}, {"float32", at::kFloat},     {"float", at::kFloat},
    {"float16", at::kHalf},   {"half", at::kHalf},     {"bfloat16", at::kBFloat16}, {"int64", at::kLong},
    {"long", at::kLong},      {"int32", at::kInt},     {"int", at::kInt},           {"int16", at::kShort},
    {"short", at::kShort},    {"int8", at::kChar},     {"uint8", at::kByte},        {"bool", at::kBool},
};
// Types that PyTorch stores and that are not read here.
constexpr const char* kOtherTypes[] = {
    "ComplexFloatStorage",
    "ComplexDoubleStorage",
    "QInt8Storage",
    "QUInt8Storage",
    "QInt32Storage",
    "uint16",
    "uint32",
    "uint64",
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "qint8",
    "quint8",
    "qint32",
};
// Values that cannot hold weights; they are built as empty objects.
constexpr const char* kInert[] = {
    "argparse Namespace",
    "torch device",
    "torch Tensor",
    "torch.nn.parameter Parameter",
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "_codecs encode",
    "torch.serialization _get_layout",
};
constexpr const char* kBuilders[] = {
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
    "torch._tensor _rebuild_from_type_v2",
    "collections OrderedDict",
    "torch Size",
    "torch.jit._pickle build_intlist",
    "torch.jit._pickle build_doublelist",
    "torch.jit._pickle build_boollist",
    "torch.jit._pickle build_tensorlist",
    "torch.jit._pickle restore_type_tag",
};

template <size_t Count>
bool is_one_of(const char* const (&words)[Count], const std::string& word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

// "torch FloatStorage", "torch.storage UntypedStorage", "torch float32" to what follows torch.
std::string torch_word(const std::string& global) {
  for (const char* prefix : {"torch.storage ", "torch.cuda ", "torch "})
    if (global.starts_with(prefix)) return global.substr(std::string_view(prefix).size());
  return "";
}

template <size_t Count>
const Word* find_word(const Word (&words)[Count], const std::string& global) {
  std::string word = torch_word(global);
  for (const Word& known : words)
    if (word == known.word) return &known;
  return nullptr;
}

// A class that a TorchScript archive defines itself; only the attributes of its objects are read.
bool is_script_class(const std::string& global) {
  return global.starts_with("__torch__");
}

}  // namespace

void PytorchFile::Host::refuse(const std::string& what) const {
  fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {}", name_, what);
}

bool PytorchFile::Host::allows(const std::string& global) const {
  if (is_one_of(kOtherTypes, torch_word(global)))
    fail(ErrorKind::unsupported, "use a float32, float16 or bfloat16 publication of the model",
         "{}: element type {} is not supported", name_, torch_word(global));
  return find_word(kStorages, global) || find_word(kDtypes, global) || is_one_of(kInert, global) ||
         is_one_of(kBuilders, global) || is_script_class(global);
}

const PickleNode& PytorchFile::Host::argument(const PickleNode& arguments, size_t idx, Kind kind,
                                              const std::string& what) const {
  if (idx >= arguments.items.size()) refuse(fmt::format("{} has {} parts", what, arguments.items.size()));
  const PickleNode& node = *arguments.items[idx];
  if (node.kind != kind)
    refuse(fmt::format("{}: part {} is {}, expected {}", what, idx, kind_word(node.kind), kind_word(kind)));
  return node;
}

std::vector<int64_t> PytorchFile::Host::integers(const PickleNode& arguments, size_t idx,
                                                 const std::string& what) const {
  constexpr size_t kMaxAxes = 64;  // what the tensor library can hold
  const PickleNode& list = argument(arguments, idx, Kind::tuple, what);
  if (list.items.size() > kMaxAxes) refuse(fmt::format("{} has {} axes", what, list.items.size()));
  std::vector<int64_t> values;
  for (size_t axis = 0; axis < list.items.size(); ++axis) {
    int64_t value = argument(list, axis, Kind::integer, what).integer;
    if (value < 0) refuse(fmt::format("{} has a negative size or stride {}", what, value));
    values.push_back(value);
  }
  return values;
}

PickleNode* PytorchFile::Host::first_argument(const PickleNode& arguments, const std::string& what) const {
  if (arguments.items.empty()) refuse(what + " has no parts");
  return arguments.items[0];
}

PickleNode* PytorchFile::Host::call(const std::string& global, const PickleNode& arguments,
                                    PickleArena& arena) {
  if (global == "torch._utils _rebuild_tensor" || global == "torch._utils _rebuild_tensor_v2")
    return make_tensor(arguments, false, arena);
  if (global == "torch._utils _rebuild_tensor_v3") return make_tensor(arguments, true, arena);
  if (global == "collections OrderedDict") return make_dict(arguments, arena);
  if (global == "torch._tensor _rebuild_from_type_v2") {  // function, type, arguments, state
    const std::string& function = argument(arguments, 0, Kind::global, global).text;
    if (!function.starts_with("torch._utils ")) refuse("a tensor is rebuilt by " + quoted_name(function));
    return call(function, argument(arguments, 2, Kind::tuple, global), arena);
  }
  if (is_one_of(kBuilders, global)) return first_argument(arguments, global);  // a wrapper around its value
  if (is_one_of(kInert, global) || is_script_class(global)) return arena.make(Kind::object);
  refuse(quoted_name(global) + " is called, which has no meaning in a file of weights; nothing was executed");
}

PickleNode* PytorchFile::Host::make_dict(const PickleNode& arguments, PickleArena& arena) const {
  PickleNode* dict = arena.make(Kind::dict);
  if (arguments.items.empty()) return dict;
  const PickleNode& pairs = argument(arguments, 0, Kind::list, "an OrderedDict");
  for (PickleNode* pair : pairs.items) {
    if ((pair->kind != Kind::list && pair->kind != Kind::tuple) || pair->items.size() != 2)
      refuse("an OrderedDict is not made of pairs");
    arena.extend(dict->items, pair->items);
  }
  return dict;
}

PickleNode* PytorchFile::Host::make_tensor(const PickleNode& arguments, bool has_dtype, PickleArena& arena) {
  const std::string what = "a tensor";
  const PickleNode& resource = argument(arguments, 0, Kind::resource, what);
  if (resource.integer % 2 != 0) refuse("a tensor is made of a tensor, expected a storage");
  StoredTensor tensor;
  tensor.storage = views_[static_cast<size_t>(resource.integer / 2)];
  tensor.offset = argument(arguments, 1, Kind::integer, what).integer;
  tensor.shape = integers(arguments, 2, what);
  tensor.strides = integers(arguments, 3, what);
  if (has_dtype) {  // the storage counts bytes
    const Word* dtype = find_word(kDtypes, argument(arguments, 6, Kind::global, what).text);
    if (!dtype) refuse("a tensor has no element type");
    auto item_bytes = static_cast<int64_t>(c10::elementSize(dtype->type));
    if (tensor.storage.dtype != at::kByte || tensor.storage.begin % item_bytes != 0)
      refuse("a typed tensor lies in a storage of another type");
    tensor.storage.dtype = dtype->type;
    tensor.storage.begin /= item_bytes;
    tensor.storage.elements /= item_bytes;
  }
  if (tensor.shape.size() != tensor.strides.size())
    refuse(fmt::format("a tensor has {} axes and {} strides", tensor.shape.size(), tensor.strides.size()));
  PickleNode* node = arena.make(Kind::resource);
  node->integer = static_cast<int64_t>(tensors_.size()) * 2 + 1;
  tensors_.push_back(std::move(tensor));
  return node;
}

// ("storage", type, key, location, elements[, view]): view is nothing or (key, begin, elements), old format
// only.
PickleNode* PytorchFile::Host::resource(const PickleNode& id, PickleArena& arena) {
  const std::string what = "a storage";
  if (id.kind != Kind::tuple || argument(id, 0, Kind::text, what).text != "storage")
    refuse("a persistent id is not that of a storage");
  const PickleNode& type = argument(id, 1, Kind::global, what);
  const Word* known = find_word(kStorages, type.text);
  if (!known) refuse("a storage of type " + quoted_name(type.text));
  StorageView view{argument(id, 2, Kind::text, what).text, known->type, 0,
                   argument(id, 4, Kind::integer, what).integer};
  if (view.elements < 0) refuse(fmt::format("a storage of {} elements", view.elements));
  roots_.emplace(view.key, view);
  if (id.items.size() > 5 && id.items[5]->kind == Kind::tuple) {
    const PickleNode& part = *id.items[5];
    int64_t begin = argument(part, 1, Kind::integer, what).integer;
    int64_t elements = argument(part, 2, Kind::integer, what).integer;
    if (begin < 0 || elements < 0 || begin > view.elements || elements > view.elements - begin)
      refuse(fmt::format("a view of elements {} and {} more into a storage of {}", begin, elements,
                         view.elements));
    view.begin = begin;
    view.elements = elements;
  }
  PickleNode* node = arena.make(Kind::resource);
  node->integer = static_cast<int64_t>(views_.size()) * 2;
  views_.push_back(std::move(view));
  return node;
}

const PytorchFile::StoredTensor* PytorchFile::Host::tensor(const PickleNode& node) const {
  if (node.kind != Kind::resource || node.integer % 2 == 0) return nullptr;
  return &tensors_[static_cast<size_t>(node.integer / 2)];
}

}  // namespace vlm
