#include "weights/npz.h"

#include "weights/zip_archive.h"

namespace vlm {

namespace {

constexpr std::string_view kEnding = ".npy", kMagic("\x93NUMPY", 6);
constexpr size_t kMaxAxes = 8, kMaxHeader = 1 << 16;

// The header is a Python dictionary with three known keys: {'descr': '<f4', 'fortran_order': False, 'shape':
// (2, 3), }
class Header {
 public:
  Header(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  // What stands behind "'key':", up to the comma or bracket that ends it.
  std::string_view value(std::string_view key, char end) const {
    size_t at = text_.find(fmt::format("'{}':", key));
    if (at == text_.npos) fail_header();
    std::string_view rest = text_.substr(at + key.size() + 3);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    size_t stop = rest.find(end);
    if (stop == rest.npos) fail_header();
    return rest.substr(0, stop);
  }

  at::ScalarType dtype() const {
    std::string_view word = value("descr", ',');
    constexpr std::pair<std::string_view, at::ScalarType> kTypes[] = {
        {"'<f4'", at::kFloat}, {"'<f2'", at::kHalf}, {"'<f8'", at::kDouble}, {"'<i8'", at::kLong},
        {"'<i4'", at::kInt},   {"'|i1'", at::kChar}, {"'|u1'", at::kByte}};
    for (const auto& [name, type] : kTypes)
      if (word == name) return type;
    fail(ErrorKind::unsupported, "save it again as float32", "{}: an array of type {}", where_, word);
  }

  Shape shape() const {
    std::string_view list = value("shape", ')');
    if (list.empty() || list.front() != '(') fail_header();
    Shape shape;
    int64_t number = -1;
    for (char letter : list.substr(1)) {
      if (letter >= '0' && letter <= '9') {
        number = std::max<int64_t>(number, 0) * 10 + (letter - '0');
        if (number > (int64_t{1} << 40)) fail_header();
      } else if (letter == ',' && number >= 0 && shape.size() < kMaxAxes) {
        shape.push_back(number);
        number = -1;
      } else if (letter != ' ') {
        fail_header();
      }
    }
    if (number >= 0) shape.push_back(number);
    return shape;
  }

  [[noreturn]] void fail_header() const {
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: not the header of a numpy array", where_);
  }

 private:
  std::string_view text_;
  std::string where_;
};

}  // namespace

NpzFile::Array NpzFile::read_array(FileBytes file, const std::string& where) {
  ByteReader reader(file.bytes, where);
  Header nothing("", where);
  if (file.bytes.size() < 10 || reader.text(kMagic.size(), "magic") != kMagic) nothing.fail_header();
  int major = reader.number<uint8_t>("version");
  reader.number<uint8_t>("version");
  size_t length = major == 1 ? reader.number<uint16_t>("length") : reader.number<uint32_t>("length");
  if (major < 1 || major > 3 || length > kMaxHeader) nothing.fail_header();
  Header header(reader.text(length, "header"), where);
  Array array;
  array.info.dtype = header.dtype();
  array.info.shape = header.shape();
  if (header.value("fortran_order", ',') != "False")
    fail(ErrorKind::unsupported, "save it again with np.ascontiguousarray", "{}: columns come first", where);
  std::optional<int64_t> count = element_count(array.info.shape);
  uint64_t size = c10::elementSize(array.info.dtype);
  if (!count || static_cast<uint64_t>(*count) > reader.remaining() / size)
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {} bytes left for shape {}", where, reader.remaining(),
         shape_text(array.info.shape));
  array.info.file_bytes = *count * static_cast<int64_t>(size);
  array.begin = reader.position();
  array.file = std::move(file);
  return array;
}

NpzFile::NpzFile(FileBytes file) : name_(file.name) {
  ZipArchive archive(std::move(file));
  for (const auto& [entry, place] : archive.entries()) {
    if (!entry.ends_with(kEnding)) continue;
    std::string name = entry.substr(0, entry.size() - kEnding.size());
    arrays_[name] = read_array(archive.read(entry), name_ + ": " + quoted_name(name));
  }
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, array] : arrays_) names.push_back(name);
  return names;
}

Tensor NpzFile::load(const std::string& name) const {
  const Array& array = at(name);
  return view_bytes(array.file.owner, array.file.bytes.subspan(array.begin), array.info.shape,
                    array.info.dtype);
}

const NpzFile::Array& NpzFile::at(const std::string& name) const {
  auto found = arrays_.find(name);
  if (found == arrays_.end())
    fail(ErrorKind::not_found, "compare the file with the published one", "{}: holds no array {}", name_,
         quoted_name(name));
  return found->second;
}

std::shared_ptr<const TensorSource> open_npz(const std::filesystem::path& file) {
  return std::make_shared<NpzFile>(FileBytes::map(file));
}

}  // namespace vlm
