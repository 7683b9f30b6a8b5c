#include "text/model.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/unigram.h"
#include "text/word_models.h"

namespace vlm {

namespace {

std::vector<std::pair<std::string, std::string>> read_merges(const Json& list) {
  std::vector<std::pair<std::string, std::string>> merges;
  if (!list.is_array())
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one", "{}: expected a list",
         list.path());
  const auto& raw = list.raw();
  merges.reserve(raw.size());
  for (const auto& merge : raw) {
    std::string where = list.path();
    if (merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      if (!line.starts_with("#version")) merges.push_back(split_merge(line, where));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: merge {} is neither a string nor two strings", where, merges.size());
    }
  }
  return merges;
}

std::shared_ptr<const TokenModel> read_bpe(const Json& value) {
  if (!value.find("dropout").is_null() && value.at("dropout").as<double>() != 0)
    fail(ErrorKind::unsupported, "set dropout to null: it makes the ids random",
         "{}: dropout is not implemented", value.at("dropout").path());
  BpeOptions options;
  options.unk_token = value.get("unk_token", "");
  options.continuing_subword_prefix = value.get("continuing_subword_prefix", "");
  options.end_of_word_suffix = value.get("end_of_word_suffix", "");
  options.fuse_unk = value.get("fuse_unk", false);
  options.byte_fallback = value.get("byte_fallback", false);
  options.ignore_merges = value.get("ignore_merges", false);
  return std::make_shared<Bpe>(read_vocabulary(value.at("vocab")), read_merges(value.at("merges")),
                               std::move(options), value.path());
}

std::shared_ptr<const TokenModel> read_unigram(const Json& value) {
  Json list = value.at("vocab");
  std::vector<std::pair<std::string, double>> pieces;
  if (!list.is_array())
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one", "{}: expected a list",
         list.path());
  const auto& raw = list.raw();
  pieces.reserve(raw.size());
  for (const auto& piece : raw) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number())
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: piece {} is not a string and a score", list.path(), pieces.size());
    pieces.emplace_back(piece[0].get<std::string>(), piece[1].get<double>());
  }
  std::optional<int64_t> unk_id;
  if (value.has("unk_id")) unk_id = value.at("unk_id").as<int64_t>();
  return std::make_shared<Unigram>(std::move(pieces), unk_id, value.get("byte_fallback", false),
                                   value.path());
}

}  // namespace

std::shared_ptr<const TokenModel> read_model(const Json& value) {
  // Old files leave the type out; the keys tell.
  std::string type = value.get("type", value.has("merges")                      ? "BPE"
                                       : value.has("unk_id")                    ? "Unigram"
                                       : value.has("continuing_subword_prefix") ? "WordPiece"
                                                                                : "WordLevel");
  if (type == "BPE") return read_bpe(value);
  if (type == "Unigram") return read_unigram(value);
  if (type == "WordPiece")
    return std::make_shared<WordPiece>(read_vocabulary(value.at("vocab")), value.get("unk_token", "[UNK]"),
                                       value.get("continuing_subword_prefix", "##"),
                                       value.integer("max_input_chars_per_word", 1, int64_t{1} << 31, 100),
                                       value.path());
  if (type == "WordLevel")
    return std::make_shared<WordLevel>(read_vocabulary(value.at("vocab")), value.get("unk_token", "<unk>"),
                                       value.path());
  fail(ErrorKind::unsupported, "report the checkpoint's name", "{}: the model {} is not known", value.path(),
       type);
}

}  // namespace vlm
