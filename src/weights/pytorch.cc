#include "weights/pytorch.h"

#include <functional>
#include <unordered_map>

#include "weights/pytorch_host.h"

namespace vlm {

namespace {

using Kind = PickleNode::Kind;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxVisits = 10'000'000;  // shared subtrees are visited once for each path to them

[[noreturn]] void fail_file(const std::string& name, const std::string& what) {
  fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {}", name, what);
}

[[noreturn]] void fail_byte_order(const std::string& name) {
  fail(ErrorKind::unsupported, "save it again on a little-endian machine",
       "{}: was saved on a big-endian machine", name);
}

std::string key_text(const PickleNode& key) {
  return key.kind == Kind::integer ? std::to_string(key.integer) : key.text;
}

// Calls visit(dotted path, node) for every leaf.
class Walk {
 public:
  using Visit = std::function<void(const std::string&, const PickleNode&)>;
  Walk(const std::string& name, Visit visit) : name_(name), visit_(std::move(visit)) {}

  void operator()(const PickleNode& node, const std::string& path, int depth = 0) {
    if (depth > kMaxDepth) fail_file(name_, fmt::format("nested deeper than {} levels", kMaxDepth));
    if (++visits_ > kMaxVisits) fail_file(name_, fmt::format("more than {} values", kMaxVisits));
    if (node.kind == Kind::list || node.kind == Kind::tuple) {
      for (size_t idx = 0; idx < node.items.size(); ++idx)
        (*this)(*node.items[idx], join(path, std::to_string(idx)), depth + 1);
    } else if (node.kind == Kind::dict || node.kind == Kind::object) {
      std::unordered_map<std::string, size_t> last;  // as in Python, a later value replaces an earlier one
      for (size_t idx = 0; idx + 1 < node.items.size(); idx += 2)
        if (is_name(*node.items[idx])) last[key_text(*node.items[idx])] = idx;
      for (size_t idx = 0; idx + 1 < node.items.size(); idx += 2) {
        const PickleNode& key = *node.items[idx];
        if (is_name(key) && last[key_text(key)] == idx)
          (*this)(*node.items[idx + 1], join(path, key_text(key)), depth + 1);
      }
    } else {
      visit_(path, node);
    }
  }

 private:
  static bool is_name(const PickleNode& key) { return key.kind == Kind::text || key.kind == Kind::integer; }
  static std::string join(const std::string& path, const std::string& name) {
    return path.empty() ? name : path + "." + name;
  }

  const std::string& name_;
  Visit visit_;
  size_t visits_ = 0;
};

}  // namespace

PytorchFile::PytorchFile(FileBytes file) : file_(std::move(file)) {
  auto first = file_.bytes.empty() ? std::byte{0} : file_.bytes[0];
  if (first == std::byte{'P'})
    read_zip();
  else if (first == std::byte{0x80})
    read_legacy();
  else
    fail(ErrorKind::unsupported,
         "save the state dict again with torch.save, or use a safetensors publication",
         "{}: neither the zip format of torch.save nor the one before it", file_.name);
}

void PytorchFile::read_zip() {
  archive_.emplace(file_);
  std::string pickle_name;
  for (const auto& [name, entry] : archive_->entries())
    if (name == "data.pkl" || (name.ends_with("/data.pkl") && name.find('/') == name.size() - 9)) {
      if (!pickle_name.empty()) fail_file(file_.name, "two data.pkl in the zip archive");
      pickle_name = name;
    }
  if (pickle_name.empty())
    fail(ErrorKind::bad_checkpoint, "name a file that torch.save wrote",
         "{}: a zip archive without data.pkl, not a file of torch.save", file_.name);
  data_folder_ = pickle_name.substr(0, pickle_name.size() - 8);
  if (archive_->entries().count(data_folder_ + "byteorder")) {
    FileBytes order = archive_->read(data_folder_ + "byteorder");
    if (ByteReader(order.bytes, file_.name).text(order.bytes.size(), "byteorder") == "big")
      fail_byte_order(file_.name);
  }
  FileBytes pickle = archive_->read(pickle_name);
  data_folder_ += "data/";
  ByteReader reader(pickle.bytes, pickle.name);
  PickleArena arena;
  Host host(file_.name);
  collect(read_pickle(reader, pickle.name, host, arena), host);
}

void PytorchFile::read_legacy() {
  constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  constexpr int64_t kProtocol = 1001;
  ByteReader reader(file_.bytes, file_.name);
  PickleArena arena;
  Host host(file_.name);
  const PickleNode* magic = read_pickle(reader, file_.name, host, arena);
  if (magic->kind != Kind::bytes || magic->text != kMagic)
    fail(ErrorKind::unsupported,
         "save the state dict again with torch.save, or use a safetensors publication",
         "{}: a pickle, but not of torch.save", file_.name);
  const PickleNode* protocol = read_pickle(reader, file_.name, host, arena);
  if (protocol->kind != Kind::integer || protocol->integer != kProtocol)
    fail(ErrorKind::unsupported, "save the state dict again with torch.save",
         "{}: version {} of the format before PyTorch 1.6, known is {}", file_.name, protocol->integer,
         kProtocol);
  const PickleNode* machine = read_pickle(reader, file_.name, host, arena);
  if (machine->kind == Kind::dict)
    for (size_t idx = 0; idx + 1 < machine->items.size(); idx += 2)
      if (machine->items[idx]->text == "little_endian" && machine->items[idx + 1]->kind == Kind::boolean &&
          machine->items[idx + 1]->integer == 0)
        fail_byte_order(file_.name);
  const PickleNode* root = read_pickle(reader, file_.name, host, arena);
  const PickleNode* keys = read_pickle(reader, file_.name, host, arena);
  if (keys->kind != Kind::list) fail_file(file_.name, "no list of storages follows the state dict");
  for (const PickleNode* key : keys->items) {
    auto found = key->kind == Kind::text ? host.storages().find(key->text) : host.storages().end();
    if (found == host.storages().end()) fail_file(file_.name, "stores a storage that no tensor uses");
    const StorageView& storage = found->second;
    auto elements = reader.number<int64_t>("a storage's size");
    if (elements != storage.elements)
      fail_file(file_.name, fmt::format("storage {} has {} elements, {} were announced",
                                        quoted_name(key->text), elements, storage.elements));
    size_t item_bytes = c10::elementSize(storage.dtype);
    if (static_cast<uint64_t>(elements) > reader.remaining() / item_bytes)
      fail(ErrorKind::bad_checkpoint, kDamagedHint,
           "{}: storage {} needs {} elements of {} bytes, {} bytes are left", file_.name,
           quoted_name(key->text), elements, item_bytes, reader.remaining());
    Region region{reader.position(), static_cast<uint64_t>(elements) * item_bytes};
    reader.take(region.bytes, "a storage");
    if (!regions_.emplace(key->text, region).second)
      fail_file(file_.name, fmt::format("storage {} is there twice", quoted_name(key->text)));
  }
  collect(root, host);
}

void PytorchFile::collect(const PickleNode* root, const Host& host) {
  Walk walk(file_.name, [&](const std::string& path, const PickleNode& leaf) {
    const StoredTensor* tensor = host.tensor(leaf);
    if (!tensor) return;
    check(path, *tensor);
    if (!tensors_.emplace(path, *tensor).second)
      fail_file(file_.name, fmt::format("two tensors have the name {}", quoted_name(path)));
  });
  walk(*root, "");
}

uint64_t PytorchFile::storage_bytes(const std::string& key, const std::string& name) const {
  if (archive_) {
    auto found = archive_->entries().find(data_folder_ + key);
    if (found != archive_->entries().end()) return found->second.bytes;
  } else {
    auto found = regions_.find(key);
    if (found != regions_.end()) return found->second.bytes;
  }
  fail_file(file_.name,
            fmt::format("the data of {} (storage {}) are missing", quoted_name(name), quoted_name(key)));
}

// Elements from the first to the last that the strides reach; nothing when that overflows.
static std::optional<int64_t> extent(const PytorchFile::StoredTensor& tensor) {
  int64_t last = 0;
  for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    int64_t step = 0;
    if (__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.strides[axis], &step) ||
        __builtin_add_overflow(last, step, &last))
      return std::nullopt;
  }
  return last == INT64_MAX ? std::nullopt : std::optional(last + 1);
}

void PytorchFile::check(const std::string& name, const StoredTensor& tensor) const {
  constexpr int64_t kMaxExpanded = int64_t{1} << 26;  // elements that a small storage may stand for
  const StorageView& view = tensor.storage;
  auto in_file = static_cast<int64_t>(storage_bytes(view.key, name) / c10::elementSize(view.dtype));
  auto elements = element_count(tensor.shape);
  std::string where = file_.name + ": " + quoted_name(name);
  if (!elements || *elements > std::max(view.elements, kMaxExpanded))
    fail_file(where, fmt::format("{} does not fit its storage of {} elements", shape_text(tensor.shape),
                                 view.elements));
  if (view.begin > in_file || view.elements > in_file - view.begin)
    fail_file(where, fmt::format("its storage has {} elements, {} were announced", in_file,
                                 view.begin + view.elements));
  if (tensor.offset < 0 || tensor.offset > view.elements)
    fail_file(where, fmt::format("begins at element {} of {}", tensor.offset, view.elements));
  if (*elements == 0) return;
  auto reach = extent(tensor);
  if (!reach || *reach > view.elements - tensor.offset)
    fail_file(where, fmt::format("{} with strides {} from element {} leaves its storage of {} elements",
                                 shape_text(tensor.shape), shape_text(tensor.strides), tensor.offset,
                                 view.elements));
}

const PytorchFile::StoredTensor& PytorchFile::find(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", file_.name,
         quoted_name(name));
  return found->second;
}

std::vector<std::string> PytorchFile::names() const {
  std::vector<std::string> sorted;
  for (const auto& item : tensors_) sorted.push_back(item.first);
  return sorted;
}

TensorInfo PytorchFile::info(const std::string& name) const {
  const StoredTensor& tensor = find(name);
  auto bytes = *element_count(tensor.shape) * static_cast<int64_t>(c10::elementSize(tensor.storage.dtype));
  return {tensor.shape, tensor.storage.dtype, bytes};
}

Tensor PytorchFile::load(const std::string& name) const {
  const StoredTensor& tensor = find(name);
  const StorageView& view = tensor.storage;
  if (*element_count(tensor.shape) == 0) return at::empty(tensor.shape, view.dtype);
  FileBytes storage;
  if (archive_) {
    storage = archive_->read(data_folder_ + view.key);
  } else {
    const Region& region = regions_.at(view.key);
    storage = {file_.bytes.subspan(region.begin, region.bytes), file_.owner, file_.name};
  }
  size_t item_bytes = c10::elementSize(view.dtype);
  int64_t reach = *extent(tensor);
  auto bytes = storage.bytes.subspan(static_cast<size_t>(view.begin + tensor.offset) * item_bytes,
                                     static_cast<size_t>(reach) * item_bytes);
  return view_bytes(storage.owner, bytes, {reach}, view.dtype).as_strided(tensor.shape, tensor.strides);
}

std::string PytorchFile::describe() const {
  return std::filesystem::path(file_.name).filename().string();
}

std::shared_ptr<const TensorSource> open_pytorch(const std::filesystem::path& file) {
  return std::make_shared<PytorchFile>(FileBytes::map(file));
}

}  // namespace vlm
