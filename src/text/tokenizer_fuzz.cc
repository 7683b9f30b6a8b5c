// Feeds bytes to the tokenizer readers and, where they accept them, to the tokenizers. The first byte chooses
// the reader, the second where the file ends and the text begins.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/byte_level_bpe.h"
#include "text/charsmap.h"
#include "text/gguf_tokenizer.h"
#include "text/pipeline.h"
#include "text/regex.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/unicode.h"

namespace {

using namespace vlm;

void use(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  auto ids = tokenizer->ids(text);
  tokenizer->encode_pair(text, "a b");
  tokenizer->decode(ids, true);
  StreamDecoder stream(tokenizer, false);
  for (int64_t id : ids) stream.push(id);
  stream.finish();
}

// A byte-level tokenizer with the given stage, so that inputs need not spell a whole file.
std::string with_stage(std::string_view key, std::string_view stage) {
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte)
    vocabulary += fmt::format("{}\"<0x{:02X}>\":{}", byte > 0 ? "," : "", byte, byte);
  return fmt::format(
      "{{\"version\":\"1.0\",\"added_tokens\":[{{\"content\":\"<s>\",\"id\":0,\"special\":true}}],\"{}\":{},"
      "\"model\":{{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{{{}}},\"merges\":[]}}}}",
      key, stage, vocabulary);
}

GgufTokenizer gguf_of(std::string_view bytes) {
  static const char* const kModels[] = {"llama", "gpt2", "bert", "t5"};
  GgufTokenizer values;
  auto next = [&] {
    int byte = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
    if (!bytes.empty()) bytes.remove_prefix(1);
    return byte;
  };
  values.model = kModels[next() % 4];
  values.bos_id = next();
  values.unk_id = next();
  while (!bytes.empty()) {
    auto length = static_cast<size_t>(next() % 8);
    values.token_types.push_back(next() % 7);
    values.scores.push_back(static_cast<float>(next()) - 100);
    values.tokens.emplace_back(bytes.substr(0, length));
    if (next() % 4 == 0) values.merges.emplace_back(bytes.substr(0, length + 1));
    bytes.remove_prefix(std::min(length, bytes.size()));
  }
  return values;
}

void run(std::string_view input) {
  int reader = static_cast<unsigned char>(input[0]) % 9;
  size_t cut = 2 + static_cast<unsigned char>(input[1]) * (input.size() - 2) / 256;
  std::string_view file = input.substr(2, cut - 2);
  std::string_view text = input.substr(cut);
  auto json = [&](std::string_view document) {
    use(make_tokenizer(read_tokenizer_json(Json::parse(document, "tokenizer.json"))), text);
  };
  switch (reader) {
    case 0:
      return json(file);
    case 1:
      return json(with_stage("normalizer", file));
    case 2:
      return json(with_stage("pre_tokenizer", file));
    case 3:
      return json(with_stage("post_processor", file));
    case 4:
      return json(with_stage("decoder", file));
    case 5:
      return use(
          make_tokenizer(sentencepiece_parts(read_sentencepiece(file, "tokenizer.model"), Json(), "model")),
          text);
    case 6:
      return use(make_tokenizer(read_tiktoken(file, "x.tiktoken")), text);
    case 7:
      return use(tokenizer_from_gguf(gguf_of(file)), text);
    default:
      Regex::compile(file, "pattern")->find(valid_utf8(text));
      Charsmap(file, "charsmap").longest(text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  try {
    run(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const Error& error) {
    // Bad files are refused; an internal error would be a bug of ours.
    if (error.kind() == ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
