// Names and shapes of a published checkpoint without its values: what binding tests are made of.
#include <zlib.h>

#include <map>

#include "base/files.h"
#include "base/json.h"
#include "weights/safetensors.h"
#include "weights/shapes_source.h"

namespace vlm {

namespace {

constexpr size_t kMaxManifestBytes = 64 << 20;  // published ones unpack to 100 KB

std::string gunzip(std::string_view packed, const std::string& name) {
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
    fail(ErrorKind::out_of_resources, "free some memory", "{}: cannot be unpacked", name);
  std::string text;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  while (status == Z_OK && text.size() < kMaxManifestBytes) {
    char block[1 << 16];
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof block;
    status = inflate(&stream, Z_NO_FLUSH);
    text.append(block, sizeof block - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END)
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: not a whole gzip file of at most {} bytes", name,
         kMaxManifestBytes);
  return text;
}

class ShapesSource final : public TensorSource {
 public:
  explicit ShapesSource(const std::filesystem::path& path) : name_(path.filename().string()) {
    Json manifest = read_manifest(path);
    Json tensors = manifest.at("tensors");
    for (const std::string& name : tensors.keys()) {
      Json entry = tensors.at(name);
      TensorInfo info;
      info.dtype = parse_safetensors_dtype(entry[0].as<std::string>(), entry.path());
      info.shape = entry[1].as<std::vector<int64_t>>();
      auto elements = element_count(info.shape);
      if (!elements || __builtin_mul_overflow(*elements, c10::elementSize(info.dtype), &info.file_bytes))
        fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {} is not a shape", entry.path(),
             shape_text(info.shape));
      tensors_.emplace(name, std::move(info));
    }
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> sorted;
    for (const auto& item : tensors_) sorted.push_back(item.first);
    return sorted;
  }
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override {
    auto found = tensors_.find(name);
    if (found == tensors_.end())
      fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", name_,
           quoted_name(name));
    return found->second;
  }
  Tensor load(const std::string& name) const override {
    TensorInfo wanted = info(name);
    return at::zeros({}, wanted.dtype).expand(wanted.shape);
  }
  bool is_abstract() const override { return true; }
  std::string describe() const override { return name_; }

 private:
  std::string name_;
  std::map<std::string, TensorInfo> tensors_;
};

}  // namespace

Json read_manifest(const std::filesystem::path& path) {
  std::string packed = read_text(path, static_cast<int64_t>(kMaxManifestBytes));
  return Json::parse(packed.starts_with("\x1f\x8b") ? gunzip(packed, path.string()) : packed,
                     path.filename().string());
}

std::shared_ptr<const TensorSource> shapes_source(const std::filesystem::path& manifest_json_gz) {
  return std::make_shared<ShapesSource>(manifest_json_gz);
}

}  // namespace vlm
