#include "parts/processors/text_batch.h"

#include <algorithm>

#include "parts/processors/needed.h"

namespace vlm {

namespace {

Tensor padded(std::vector<std::vector<int64_t>> rows, int64_t length, int64_t pad) {
  std::vector<int64_t> flat;
  for (std::vector<int64_t>& row : rows) {
    row.resize(static_cast<size_t>(length), pad);
    flat.insert(flat.end(), row.begin(), row.end());
  }
  return ids_tensor(flat).view({static_cast<int64_t>(rows.size()), length});
}

std::vector<std::vector<int64_t>> tokenise(const std::vector<std::string>& texts,
                                           const LoadedTokenizer& tokenizer, int64_t limit) {
  if (texts.empty()) fail(ErrorKind::bad_request, "give at least one text", "no texts");
  if (!tokenizer.tokenizer)
    fail(ErrorKind::bad_checkpoint, "get the tokenizer files of this checkpoint",
         "the checkpoint has no tokenizer, and a text was given");
  std::vector<std::vector<int64_t>> rows;
  for (const std::string& text : texts) {
    std::vector<int64_t> row = tokenizer.tokenizer->ids(text);
    if (static_cast<int64_t>(row.size()) > limit) {
      int64_t last = row.back();
      row.resize(static_cast<size_t>(limit));
      row.back() = last;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Tensor longest_batch(const std::vector<std::string>& texts, const LoadedTokenizer& tokenizer, int64_t limit) {
  std::vector<std::vector<int64_t>> rows = tokenise(texts, tokenizer, limit);
  size_t longest = 0;
  for (const std::vector<int64_t>& row : rows) longest = std::max(longest, row.size());
  return padded(std::move(rows), static_cast<int64_t>(longest), tokenizer.info.pad_id.value_or(0));
}

Tensor fixed_batch(const std::vector<std::string>& texts, const LoadedTokenizer& tokenizer, int64_t length) {
  return padded(tokenise(texts, tokenizer, length), length, tokenizer.info.pad_id.value_or(0));
}

Tensor image_batch(const std::vector<Image>& images, const std::optional<ImageProcessor>& processor) {
  if (images.empty()) fail(ErrorKind::bad_request, "give at least one picture", "no pictures");
  const ImageProcessor& to_pixels = needed(processor);
  std::vector<Tensor> rows;
  for (const Image& image : images) rows.push_back(to_pixels(image));
  return at::stack(rows);
}

}  // namespace vlm
