#include "system/published_sizes.h"

#include <algorithm>
#include <set>

#include "system/checkpoint.h"
#include "tensor/group_layout.h"
#include "weights/shapes_source.h"

namespace vlm {

namespace {

// Of 16 rows (kernels/quantised.h): 8 bits in blocks of 256 inputs, or 128 at the end, 4 bits in blocks
// of 32. A block has quants, a float16 scale a row, and for 4 bits a float16 minimum.
constexpr int64_t kBlockRows = 16, kInt4Block_bytes = 16 * 32 / 2 + 64;

int64_t row_bytes(int64_t in, Precision precision) {
  if (precision == Precision::int4) return groups_of_row(in) * kInt4Block_bytes / kBlockRows;
  return (in + 127) / 128 * 128 + (in + 255) / 256 * 2;
}

bool is_table(const std::string& name) {
  for (const char* word : {"embed_tokens.", "word_embed", "wte.", "position", "tok_embeddings",
                           "shared.weight", "token_embedding", "text_model.embed"})
    if (name.find(word) != std::string::npos) return true;
  return false;
}

std::string gigabytes(int64_t bytes) {
  double value = static_cast<double>(bytes);
  return value < 1e9 ? fmt::format("{:.0f} MB", value / 1e6) : fmt::format("{:.1f} GB", value / 1e9);
}

std::string count_word(int64_t count) {
  double value = static_cast<double>(count);
  return value < 1e9 ? fmt::format("{:.0f} M", value / 1e6) : fmt::format("{:.2f} B", value / 1e9);
}

// Packed layers keep the bits of their file but in float32 (weights/packed_source.h).
Precision packed_precision(const TensorInfo& info, Precision wanted) {
  int64_t count = c10::multiply_integers(info.shape);
  if (wanted == Precision::f32 ||
      info.file_bytes >= count * static_cast<int64_t>(c10::elementSize(info.dtype)))
    return wanted;
  return info.file_bytes < count ? Precision::int4 : Precision::int8;
}

constexpr char kTool[] = "build/bin/published_sizes";

}  // namespace

int64_t loaded_bytes(const std::string& name, const Shape& shape, Precision precision) {
  int64_t count = c10::multiply_integers(shape);
  if (precision == Precision::f32 || shape.size() != 2) return 4 * count;
  bool is_quantisable = can_quantise(shape[0], shape[1]) && !is_table(name);
  if (precision == Precision::bf16 || is_table(name)) return 2 * count;
  if (!is_quantisable) return 4 * count;
  int64_t rows = (shape[0] + kBlockRows - 1) / kBlockRows * kBlockRows;
  return rows * row_bytes(shape[1], precision);
}

std::vector<PublishedSize> read_published_sizes(const std::filesystem::path& manifests) {
  std::vector<PublishedSize> sizes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(manifests)) {
    if (entry.path().extension() != ".gz") continue;
    Json manifest = read_manifest(entry.path());
    std::vector<std::string> ignored = manifest.get("ignored", std::vector<std::string>{});
    std::set<std::string> left_out(ignored.begin(), ignored.end());
    Checkpoint checkpoint = Checkpoint::from_manifest(entry.path());
    PublishedSize size;
    size.slug = entry.path().parent_path().filename().string();
    size.checkpoint = checkpoint.name;
    size.parameters = manifest.at("parameters").as<int64_t>();
    for (const std::string& name : checkpoint.source->names()) {
      TensorInfo info = checkpoint.source->info(name);
      size.stored_bytes += info.file_bytes;
      if (left_out.count(name) || !at::isFloatingType(info.dtype)) continue;
      for (size_t idx = 0; idx < kPrecisions.size(); ++idx)
        size.loaded[idx] += loaded_bytes(name, info.shape, packed_precision(info, kPrecisions[idx]));
    }
    sizes.push_back(std::move(size));
  }
  std::sort(sizes.begin(), sizes.end(), [](const PublishedSize& left, const PublishedSize& right) {
    return std::tie(left.slug, left.parameters, left.checkpoint) <
           std::tie(right.slug, right.parameters, right.checkpoint);
  });
  return sizes;
}

std::string sizes_page(const std::vector<PublishedSize>& sizes) {
  std::string page = fmt::format(
      "# Sizes of published checkpoints\n\n"
      "What each checkpoint of `manifests/` takes in its files, and its weights in memory at each precision "
      "of\n"
      "`--precision`; pictures, activations and the sequence's keys and values come on top. Matrices of "
      "linear\n"
      "layers are kept in the precision (those of packed files in the file's bits below f32), embeddings in "
      "16 bits\n"
      "below f32, the rest in float32. Written by\n"
      "`{} .` from names and shapes alone; `vlm show SLUG` prints the rows of one system.\n\n"
      "| system | checkpoint | parameters | files | f32 | bf16 | int8 | int4 |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n",
      kTool);
  for (const PublishedSize& size : sizes) {
    page += fmt::format("| {} | `{}` | {} | {} |", size.slug, size.checkpoint, count_word(size.parameters),
                        gigabytes(size.stored_bytes));
    for (int64_t bytes : size.loaded) page += fmt::format(" {} |", gigabytes(bytes));
    page += "\n";
  }
  return page;
}

std::string sizes_table(const std::vector<PublishedSize>& sizes) {
  std::string text = fmt::format(
      "// Written by `{} .` from manifests/; do not edit.\n"
      "#include \"app/cli/sizes.h\"\n\nnamespace vlm::cli {{\n\nnamespace {{\n\n"
      "// clang-format off\nconstexpr SizeRow kRows[] = {{\n",
      kTool);
  for (const PublishedSize& size : sizes)
    text += fmt::format("    {{\"{}\", \"{}\", {}, {}, {{{}, {}, {}, {}}}}},\n", size.slug, size.checkpoint,
                        size.parameters, size.stored_bytes, size.loaded[0], size.loaded[1], size.loaded[2],
                        size.loaded[3]);
  return text +
         "};\n// clang-format on\n\n}  // namespace\n\nstd::span<const SizeRow> size_rows() {\n  return "
         "kRows;\n}\n\n"
         "}  // namespace vlm::cli\n";
}

}  // namespace vlm
