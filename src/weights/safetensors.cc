#include "weights/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"

namespace vlm {

namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr int kMaxDepth = 8;                       // tensors take 3 levels
constexpr size_t kMaxAxes = 64;                    // what the tensor library can hold

struct DtypeWord {
  const char* word;
  at::ScalarType type;
};
constexpr DtypeWord kDtypes[] = {
    // in the order in which the reference writes them: wide elements first
    {"I64", at::kLong}, {"F64", at::kDouble}, {"F32", at::kFloat}, {"I32", at::kInt}, {"BF16", at::kBFloat16},
    {"F16", at::kHalf}, {"I16", at::kShort},  {"I8", at::kChar},   {"U8", at::kByte}, {"BOOL", at::kBool},
};
constexpr const char* kKnownElsewhere[] = {"F8_E4M3",     "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
                                           "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",
                                           "U16",         "U32",     "U64",     "C64"};

[[noreturn]] void fail_header(const std::string& name, const std::string& what) {
  fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {}", name, what);
}

// The parser keeps the last of two equal keys; a header with two tensors of one name means different things
// to different readers, hence is refused.
json parse_header(std::string_view text, const std::string& name) {
  std::vector<std::set<std::string>> keys;
  auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxDepth)
      fail_header(name, fmt::format("the header nests deeper than {} levels", kMaxDepth));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get_ref<const std::string&>()).second)
      fail_header(name,
                  fmt::format("the header names {} twice", quoted_name(value.get_ref<const std::string&>())));
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::exception&) {
    fail_header(name, fmt::format("the header of {} bytes is not valid JSON", text.size()));
  }
}

int64_t size_of(const json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    fail_header(where, "expected a size from 0 to 2^63 - 1, found " + quoted_name(value.dump()));
  return value.get<int64_t>();
}

const json& member(const json& entry, const char* key, json::value_t type, const std::string& where) {
  auto found = entry.find(key);
  if (found == entry.end() || found->type() != type)
    fail_header(where, fmt::format("the header's entry has no proper {}", key));
  return *found;
}

}  // namespace

std::string safetensors_dtype(at::ScalarType type) {
  for (const DtypeWord& known : kDtypes)
    if (known.type == type) return known.word;
  return "";
}

size_t safetensors_order(at::ScalarType type) {
  size_t idx = 0;
  while (idx < std::size(kDtypes) && kDtypes[idx].type != type) ++idx;
  return idx;
}

at::ScalarType parse_safetensors_dtype(const std::string& word, const std::string& where) {
  for (const DtypeWord& known : kDtypes)
    if (word == known.word) return known.type;
  for (const char* known : kKnownElsewhere)
    if (word == known)
      fail(ErrorKind::unsupported, "use a float32, float16 or bfloat16 publication of the model",
           "{}: element type {} is not supported", where, word);
  fail_header(where, fmt::format("unknown element type {}", quoted_name(word)));
}

SafetensorsFile::SafetensorsFile(FileBytes file) : file_(std::move(file)) {
  ByteReader reader(file_.bytes, file_.name);
  auto header_bytes = reader.number<uint64_t>("the header's length");
  if (header_bytes > kMaxHeaderBytes)
    fail_header(file_.name,
                fmt::format("the header claims {} bytes, the format allows {}; this is not a safetensors "
                            "file",
                            header_bytes, kMaxHeaderBytes));
  std::string_view text = reader.text(header_bytes, "the header");
  if (text.empty() || text.front() != '{') fail_header(file_.name, "the header does not begin with {");
  json header = parse_header(text, file_.name);
  size_t data_begin = reader.position();
  for (const auto& [name, entry] : header.items()) {
    std::string where = file_.name + ": " + quoted_name(name);
    if (!entry.is_object()) fail_header(where, "the header's entry is not an object");
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items())
        if (value.is_string()) metadata_[key] = value.get<std::string>();
      continue;
    }
    Entry tensor;
    tensor.info.dtype = parse_safetensors_dtype(
        member(entry, "dtype", json::value_t::string, where).get<std::string>(), where);
    const json& shape = member(entry, "shape", json::value_t::array, where);
    if (shape.size() > kMaxAxes)
      fail_header(where, fmt::format("{} axes, at most {}", shape.size(), kMaxAxes));
    for (const json& size : shape) tensor.info.shape.push_back(size_of(size, where));
    const json& offsets = member(entry, "data_offsets", json::value_t::array, where);
    if (offsets.size() != 2) fail_header(where, "data_offsets has not two entries");
    int64_t begin = size_of(offsets[0], where);
    int64_t end = size_of(offsets[1], where);
    auto available = static_cast<int64_t>(reader.remaining());
    if (begin > end || end > available)
      fail(ErrorKind::bad_checkpoint, "the file was cut short or is damaged; get it again",
           "{}: lies at bytes {} to {} of the data, the file has {}", where, begin, end, available);
    auto elements = element_count(tensor.info.shape);
    int64_t wanted = 0;
    if (!elements || __builtin_mul_overflow(*elements, c10::elementSize(tensor.info.dtype), &wanted))
      fail_header(where, fmt::format("the shape {} has too many elements", shape_text(tensor.info.shape)));
    if (wanted != end - begin)
      fail_header(where,
                  fmt::format("{} {} takes {} bytes, the header gives it {}", dtype_name(tensor.info.dtype),
                              shape_text(tensor.info.shape), wanted, end - begin));
    tensor.info.file_bytes = wanted;
    tensor.begin = data_begin + static_cast<size_t>(begin);
    tensors_.emplace(name, std::move(tensor));
  }
  check_layout(data_begin);
}

void SafetensorsFile::check_layout(size_t data_begin) const {
  std::vector<std::pair<std::string, const Entry*>> order;
  for (const auto& [name, tensor] : tensors_) order.emplace_back(name, &tensor);
  std::sort(order.begin(), order.end(), [](const auto& left, const auto& right) {
    return std::pair(left.second->begin, left.second->info.file_bytes) <
           std::pair(right.second->begin, right.second->info.file_bytes);
  });
  size_t next = data_begin;
  for (const auto& [name, tensor] : order) {
    if (tensor->begin != next)
      fail_header(file_.name + ": " + quoted_name(name),
                  fmt::format("begins at byte {} of the data, {}", tensor->begin - data_begin,
                              tensor->begin < next
                                  ? "inside another tensor"
                                  : fmt::format("after a gap that begins at {}", next - data_begin)));
    next += static_cast<size_t>(tensor->info.file_bytes);
  }
  if (next != file_.bytes.size())
    fail_header(file_.name, fmt::format("{} bytes follow the last tensor", file_.bytes.size() - next));
}

const SafetensorsFile::Entry& SafetensorsFile::find(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", file_.name,
         quoted_name(name));
  return found->second;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> sorted;
  for (const auto& item : tensors_) sorted.push_back(item.first);
  return sorted;
}

Tensor SafetensorsFile::load(const std::string& name) const {
  const Entry& tensor = find(name);
  return view_bytes(file_.owner,
                    file_.bytes.subspan(tensor.begin, static_cast<size_t>(tensor.info.file_bytes)),
                    tensor.info.shape, tensor.info.dtype);
}

std::string SafetensorsFile::describe() const {
  return std::filesystem::path(file_.name).filename().string();
}

std::vector<std::filesystem::path> SafetensorsFile::files() const {
  return {file_.name};
}

std::span<const std::byte> SafetensorsFile::mapped_bytes(const std::string& name) const {
  const Entry& tensor = find(name);
  auto bytes = file_.bytes.subspan(tensor.begin, static_cast<size_t>(tensor.info.file_bytes));
  bool is_shared = file_.owner && tensor.info.dtype != at::kBool &&
                   reinterpret_cast<uintptr_t>(bytes.data()) % c10::elementSize(tensor.info.dtype) == 0;
  return is_shared ? bytes : std::span<const std::byte>();
}

std::shared_ptr<const TensorSource> open_safetensors(const std::filesystem::path& file) {
  return std::make_shared<SafetensorsFile>(FileBytes::map(file));
}

}  // namespace vlm
