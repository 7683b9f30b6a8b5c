#include "weights/source_bytes.h"

#include "base/files.h"

namespace vlm {

FileBytes FileBytes::map(const std::filesystem::path& path) {
  auto file = MappedFile::open(path);
  auto bytes = file->bytes();
  return {bytes, std::move(file), path.string()};
}

FileBytes FileBytes::borrow(std::span<const std::byte> bytes, std::string name) {
  return {bytes, nullptr, std::move(name)};
}

void ByteReader::seek(uint64_t position, const char* what) {
  if (position > bytes_.size())
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {} should lie at byte {}, the file has {} bytes",
         name_, what, position, bytes_.size());
  position_ = position;
}

std::span<const std::byte> ByteReader::take(uint64_t count, const char* what) {
  if (count > remaining())
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {} at byte {} needs {} bytes, {} are left", name_,
         what, position_, count, remaining());
  auto taken = bytes_.subspan(position_, count);
  position_ += count;
  return taken;
}

std::string_view ByteReader::text(uint64_t count, const char* what) {
  auto taken = take(count, what);
  return {reinterpret_cast<const char*>(taken.data()), taken.size()};
}

std::optional<int64_t> element_count(at::IntArrayRef shape) {
  int64_t count = 1;
  bool has_zero = false;
  bool overflows = false;
  for (int64_t size : shape) {
    if (size < 0) return std::nullopt;
    has_zero |= size == 0;
    overflows |= __builtin_mul_overflow(count, size == 0 ? 1 : size, &count);
  }
  if (overflows) return std::nullopt;  // also when an axis is empty: strides would overflow
  return has_zero ? 0 : count;
}

Tensor view_bytes(const std::shared_ptr<const void>& owner, std::span<const std::byte> data,
                  at::IntArrayRef shape, at::ScalarType dtype) {
  auto options = at::TensorOptions().dtype(dtype);
  size_t item_bytes = c10::elementSize(dtype);
  size_t wanted = static_cast<size_t>(*element_count(shape)) * item_bytes;
  VLM_CHECK(wanted <= data.size(), "{} of {} bytes", wanted, data.size());
  if (wanted == 0) return at::empty(shape, options);
  if (dtype == at::kBool) {  // a byte other than 0 and 1 must not become a C++ bool
    return at::from_blob(const_cast<std::byte*>(data.data()), shape, at::kByte).ne(0);
  }
  if (reinterpret_cast<uintptr_t>(data.data()) % item_bytes != 0) {
    Tensor copy = at::empty(shape, options);
    std::memcpy(copy.data_ptr(), data.data(), wanted);
    return copy;
  }
  return at::from_blob(
      const_cast<std::byte*>(data.data()), shape, [owner](void*) {}, options);
}

std::string quoted_name(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string text;
  for (char letter : name.substr(0, kLongest)) text += letter >= ' ' && letter < 127 ? letter : '?';
  if (name.size() > kLongest) text += "...";
  return text;
}

}  // namespace vlm
