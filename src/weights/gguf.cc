#include "weights/gguf.h"

#include <algorithm>

namespace vlm {

namespace {

constexpr uint32_t kOldestVersion = 1;
constexpr uint32_t kNewestVersion = 3;
constexpr uint64_t kMaxNameBytes = 65535;  // of keys; tensor names are shorter still
constexpr uint32_t kMaxAxes = 4;           // of the format
constexpr int kMaxDepth = 4;               // of lists in lists
constexpr uint64_t kDefaultAlignment = 32;
constexpr int64_t kMaxAlignment = 1 << 20;

struct PlainType {
  uint32_t type;
  const char* name;
  at::ScalarType dtype;
};
constexpr PlainType kPlainTypes[] = {
    {0, "F32", at::kFloat}, {1, "F16", at::kHalf},  {24, "I8", at::kChar},    {25, "I16", at::kShort},
    {26, "I32", at::kInt},  {27, "I64", at::kLong}, {28, "F64", at::kDouble}, {30, "BF16", at::kBFloat16},
};
struct OtherType {
  uint32_t type;
  const char* name;
};
constexpr OtherType kOtherTypes[] = {
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},
    {22, "IQ2_S"},   {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},
};

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, list, u64, i64, f64 };

[[noreturn]] void fail_file(const std::string& name, const std::string& what) {
  fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {}", name, what);
}

}  // namespace

// Reads the file's beginning: counts, metadata, tensor descriptions.
class GgufFile::Header {
 public:
  explicit Header(const FileBytes& file) : reader_(file.bytes, file.name), name_(file.name) {
    if (reader_.text(4, "the magic number") != "GGUF") fail_file(name_, "does not begin with GGUF");
    version_ = reader_.number<uint32_t>("the version");
    if (version_ > 0xffff)
      fail(ErrorKind::unsupported, "use the little-endian file of the model", "{}: a big-endian file", name_);
    if (version_ < kOldestVersion || version_ > kNewestVersion)
      fail(ErrorKind::unsupported, "convert the model to a GGUF file of version 3",
           "{}: GGUF version {}, known are {} to {}", name_, version_, kOldestVersion, kNewestVersion);
    num_tensors_ = count("the number of tensors");
    num_values_ = count("the number of metadata");
  }

  void read_metadata(GgufMetadata& metadata) {
    for (uint64_t idx = 0; idx < num_values_; ++idx) {
      std::string key(short_text("a metadata key"));
      auto type = reader_.number<uint32_t>("a metadata type");
      if (!metadata.add(key, {value(type, key, 0)}))
        fail_file(name_, "two metadata keys " + quoted_name(key));
    }
  }

  void read_tensors(std::map<std::string, Entry>& tensors) {
    for (uint64_t idx = 0; idx < num_tensors_; ++idx) {
      std::string name(short_text("a tensor's name"));
      std::string where = name_ + ": " + quoted_name(name);
      if (!tensors.emplace(name, read_tensor(where)).second) fail_file(where, "two tensors have this name");
    }
  }

  uint64_t position() const { return reader_.position(); }

 private:
  // Sizes have 64 bits since version 2.
  uint64_t count(const char* what) {
    return version_ == 1 ? reader_.number<uint32_t>(what) : reader_.number<uint64_t>(what);
  }

  std::string_view short_text(const char* what) {
    uint64_t bytes = count(what);
    if (bytes > kMaxNameBytes)
      fail_file(name_, fmt::format("{} of {} bytes at byte {}", what, bytes, position()));
    return reader_.text(bytes, what);
  }

  template <typename Stored>
  int64_t integer(const std::string& key) {
    auto value = reader_.number<Stored>("metadata");
    if constexpr (std::is_same_v<Stored, uint64_t>)
      if (value > static_cast<uint64_t>(INT64_MAX))
        fail(ErrorKind::unsupported, "report the file's publisher", "{}: metadata key {} = {} is beyond 2^63",
             name_, quoted_name(key), value);
    return static_cast<int64_t>(value);
  }

  std::optional<int64_t> any_integer(uint32_t type, const std::string& key) {
    switch (type) {
      case u8:
        return integer<uint8_t>(key);
      case i8:
        return integer<int8_t>(key);
      case u16:
        return integer<uint16_t>(key);
      case i16:
        return integer<int16_t>(key);
      case u32:
        return integer<uint32_t>(key);
      case i32:
        return integer<int32_t>(key);
      case u64:
        return integer<uint64_t>(key);
      case i64:
        return integer<int64_t>(key);
      default:
        return std::nullopt;
    }
  }

  double real(uint32_t type) {
    return type == f32 ? reader_.number<float>("metadata") : reader_.number<double>("metadata");
  }

  bool truth(const std::string& key) {
    auto value = reader_.number<uint8_t>("metadata");
    if (value > 1)
      fail_file(name_,
                fmt::format("metadata key {} = {} is neither true nor false", quoted_name(key), value));
    return value == 1;
  }

  std::string long_text() { return std::string(reader_.text(count("metadata"), "metadata")); }

  decltype(GgufValue::value) value(uint32_t type, const std::string& key, int depth) {
    switch (type) {
      case f32:
      case f64:
        return real(type);
      case boolean:
        return truth(key);
      case text:
        return long_text();
      case list:
        return list_value(key, depth);
      default:
        if (auto number = any_integer(type, key)) return *number;
        fail_file(name_, fmt::format("metadata key {} has the unknown type {}", quoted_name(key), type));
    }
  }

  // Every element takes at least a byte of the file, so a false count ends the file before it fills the
  // memory.
  decltype(GgufValue::value) list_value(const std::string& key, int depth) {
    if (depth >= kMaxDepth)
      fail_file(name_,
                fmt::format("metadata key {} nests deeper than {} lists", quoted_name(key), kMaxDepth));
    auto type = reader_.number<uint32_t>("a metadata list's type");
    uint64_t elements = count("a metadata list's length");
    auto read = [&](auto values, auto&& next) {
      for (uint64_t idx = 0; idx < elements; ++idx) values.push_back(next());
      return values;
    };
    switch (type) {
      case f32:
      case f64:
        return read(std::vector<double>(), [&] { return real(type); });
      case boolean:
        return read(std::vector<bool>(), [&] { return truth(key); });
      case text:
        return read(std::vector<std::string>(), [&] { return long_text(); });
      case list:
        return read(std::vector<GgufValue>(), [&] { return GgufValue{list_value(key, depth + 1)}; });
      default:
        if (type > f64)
          fail_file(name_,
                    fmt::format("metadata key {} is a list of the unknown type {}", quoted_name(key), type));
        return read(std::vector<int64_t>(), [&] { return *any_integer(type, key); });
    }
  }

  Entry read_tensor(const std::string& where) {
    Entry tensor;
    auto axes = reader_.number<uint32_t>("a tensor's description");
    if (axes > kMaxAxes) fail_file(where, fmt::format("{} axes, at most {}", axes, kMaxAxes));
    for (uint32_t axis = 0; axis < axes; ++axis) {
      uint64_t size = count("a tensor's description");
      if (size > static_cast<uint64_t>(INT64_MAX)) fail_file(where, fmt::format("a size of {}", size));
      tensor.info.shape.insert(tensor.info.shape.begin(), static_cast<int64_t>(size));
    }
    auto type = reader_.number<uint32_t>("a tensor's description");
    tensor.offset = reader_.number<uint64_t>("a tensor's description");
    int64_t unit_elements = 1;
    int64_t unit_bytes = 0;
    set_type(tensor, type, where, unit_elements, unit_bytes);
    auto elements = element_count(tensor.info.shape);
    int64_t row = tensor.info.shape.empty() ? 1 : tensor.info.shape.back();
    if (row % unit_elements != 0)
      fail_file(where, fmt::format("rows of {} elements are not whole {} blocks of {}", row, tensor.type_name,
                                   unit_elements));
    int64_t in_memory = 0;  // an expanded tensor must be addressable too
    if (!elements || __builtin_mul_overflow(*elements / unit_elements, unit_bytes, &tensor.info.file_bytes) ||
        __builtin_mul_overflow(*elements, 8, &in_memory))
      fail_file(where, fmt::format("the shape {} has too many elements", shape_text(tensor.info.shape)));
    return tensor;
  }

  void set_type(Entry& tensor, uint32_t type, const std::string& where, int64_t& unit_elements,
                int64_t& unit_bytes) {
    if (const BlockFormat* blocks = find_block_format(type)) {
      tensor.blocks = blocks;
      tensor.type_name = blocks->name;
      unit_elements = blocks->block_elements;
      unit_bytes = blocks->block_bytes;
      return;
    }
    for (const PlainType& known : kPlainTypes)
      if (known.type == type) {
        tensor.type_name = known.name;
        tensor.info.dtype = known.dtype;
        unit_bytes = static_cast<int64_t>(c10::elementSize(known.dtype));
        return;
      }
    for (const OtherType& known : kOtherTypes)
      if (known.type == type)
        fail(ErrorKind::unsupported, "use a Q4_K, Q5_K, Q6_K, Q8_0 or F16 file of the model",
             "{}: element type {} is not supported", where, known.name);
    fail(ErrorKind::unsupported, "use a Q4_K, Q5_K, Q6_K, Q8_0 or F16 file of the model",
         "{}: element type {} is not known", where, type);
  }

  ByteReader reader_;
  const std::string& name_;
  uint32_t version_ = 0;
  uint64_t num_tensors_ = 0;
  uint64_t num_values_ = 0;
};

GgufFile::GgufFile(FileBytes file) : file_(std::move(file)), metadata_(file_.name) {
  Header header(file_);
  header.read_metadata(metadata_);
  int64_t alignment = metadata_.get_int("general.alignment", kDefaultAlignment);
  if (alignment <= 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0)
    fail_file(file_.name, fmt::format("general.alignment = {} is not a power of two", alignment));
  header.read_tensors(tensors_);
  place(header.position(), static_cast<uint64_t>(alignment));
}

void GgufFile::place(uint64_t data_begin, uint64_t alignment) {
  data_begin = (data_begin + alignment - 1) / alignment * alignment;
  uint64_t available = file_.bytes.size() > data_begin ? file_.bytes.size() - data_begin : 0;
  std::vector<std::pair<const std::string*, const Entry*>> order;
  for (auto& [name, tensor] : tensors_) {
    auto bytes = static_cast<uint64_t>(tensor.info.file_bytes);
    std::string where = file_.name + ": " + quoted_name(name);
    if (tensor.offset % alignment != 0)
      fail_file(where,
                fmt::format("begins at byte {} of the data, not a multiple of {}", tensor.offset, alignment));
    if (bytes > available || tensor.offset > available - bytes)
      fail_file(where, fmt::format("{} bytes at byte {} of the data, the file has {}", bytes, tensor.offset,
                                   available));
    tensor.begin = data_begin + tensor.offset;
    if (bytes > 0) order.emplace_back(&name, &tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const auto& left, const auto& right) { return left.second->offset < right.second->offset; });
  for (size_t idx = 1; idx < order.size(); ++idx) {
    const Entry& previous = *order[idx - 1].second;
    if (order[idx].second->offset < previous.offset + static_cast<uint64_t>(previous.info.file_bytes))
      fail_file(file_.name + ": " + quoted_name(*order[idx].first),
                "lies inside " + quoted_name(*order[idx - 1].first));
  }
}

const GgufFile::Entry& GgufFile::find(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", file_.name,
         quoted_name(name));
  return found->second;
}

std::vector<std::string> GgufFile::names() const {
  std::vector<std::string> sorted;
  for (const auto& item : tensors_) sorted.push_back(item.first);
  return sorted;
}

std::span<const std::byte> GgufFile::raw(const std::string& name) const {
  const Entry& tensor = find(name);
  if (tensor.info.file_bytes == 0) return {};
  return file_.bytes.subspan(tensor.begin, static_cast<size_t>(tensor.info.file_bytes));
}

Tensor GgufFile::load(const std::string& name) const {
  const Entry& tensor = find(name);
  if (!tensor.blocks) return view_bytes(file_.owner, raw(name), tensor.info.shape, tensor.info.dtype);
  Tensor values = at::empty(tensor.info.shape, at::kFloat);
  dequantise(*tensor.blocks, raw(name), values.data_ptr<float>());
  return values;
}

std::string GgufFile::describe() const {
  return std::filesystem::path(file_.name).filename().string();
}

std::shared_ptr<const TensorSource> open_gguf(const std::filesystem::path& file) {
  return std::make_shared<GgufFile>(FileBytes::map(file));
}

}  // namespace vlm
