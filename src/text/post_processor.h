// The key "post_processor" of tokenizer.json: special tokens around the text.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace vlm {

class Json;

// Takes one or two encodings and leaves parts whose concatenation is the result.
using PostProcessor = std::function<void(std::vector<Encoding>&, bool add_special_tokens)>;

PostProcessor read_post_processor(const Json& value, int depth = 0);

namespace post_processors {

// "<bos> A <eos>", and for pairs "<bos> A <eos> <bos> B <eos>" with type 1 for the second half.
PostProcessor bos_eos(std::vector<int64_t> bos, std::vector<int64_t> eos);
// "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]" with type 1 for the second text.
PostProcessor bert(int64_t cls, int64_t sep);
// "<s> A </s>", "<s> A </s></s> B </s>", all of type 0.
PostProcessor roberta(int64_t cls, int64_t sep);
// "A </s>", "A </s> B </s>"; a text that ends in </s> gets no second one.
PostProcessor eos_once(int64_t eos);

}  // namespace post_processors

}  // namespace vlm
