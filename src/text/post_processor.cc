#include "text/post_processor.h"

#include <map>

#include "base/error.h"
#include "base/json.h"
#include "text/normalizer.h"

namespace vlm {

namespace {

constexpr int64_t kMaxId = int64_t{1} << 31;

void surround(Encoding& encoding, std::vector<int64_t> before, const std::vector<int64_t>& after,
              int64_t type) {
  encoding.type_ids.insert(encoding.type_ids.begin(), before.size(), type);
  encoding.ids.insert(encoding.ids.begin(), before.begin(), before.end());
  encoding.ids.insert(encoding.ids.end(), after.begin(), after.end());
  encoding.type_ids.insert(encoding.type_ids.end(), after.size(), type);
}

struct TemplatePart {
  int sequence = -1;  // 0 or 1; -1: special tokens
  std::vector<int64_t> ids;
  int64_t type = 0;
};

std::vector<TemplatePart> read_template(const Json& list,
                                        const std::map<std::string, std::vector<int64_t>>& tokens) {
  std::vector<TemplatePart> parts;
  for (int64_t index = 0; index < list.size(); ++index) {
    Json entry = list[index];
    TemplatePart part;
    if (entry.has("Sequence")) {
      Json sequence = entry.at("Sequence");
      std::string id = sequence.at("id").as<std::string>();
      if (id != "A" && id != "B")
        fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
             "{}: a sequence is A or B, found \"{}\"", sequence.path(), id);
      part.sequence = id == "B";
      part.type = sequence.integer("type_id", 0, kMaxId, 0);
    } else {
      Json special = entry.at("SpecialToken");
      std::string id = special.at("id").as<std::string>();
      auto found = tokens.find(id);
      if (found == tokens.end())
        fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
             "{}: the special token \"{}\" is missing in special_tokens", special.path(), id);
      part.ids = found->second;
      part.type = special.integer("type_id", 0, kMaxId, 0);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

PostProcessor template_processing(const Json& value) {
  std::map<std::string, std::vector<int64_t>> tokens;
  Json table = value.find("special_tokens");
  for (const std::string& name : table.keys())
    tokens[name] = table.at(name).at("ids").as<std::vector<int64_t>>();
  for (const auto& [name, ids] : tokens)
    for (int64_t id : ids)
      if (id < 0 || id > kMaxId)
        fail(ErrorKind::bad_checkpoint, "compare the file with the published one", "{}: \"{}\" has the id {}",
             table.path(), name, id);
  auto single = read_template(value.at("single"), tokens);
  auto pair = read_template(value.at("pair"), tokens);
  for (const TemplatePart& part : single)
    if (part.sequence == 1)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: the template for one text uses sequence B", value.path());
  return [single, pair](std::vector<Encoding>& encodings, bool add_special_tokens) {
    std::vector<Encoding> parts;
    for (const TemplatePart& part : encodings.size() == 1 ? single : pair) {
      Encoding encoding;
      if (part.sequence >= 0)
        encoding.ids = encodings[static_cast<size_t>(part.sequence)].ids;
      else if (add_special_tokens)
        encoding.ids = part.ids;
      encoding.type_ids.assign(encoding.ids.size(), part.type);
      parts.push_back(std::move(encoding));
    }
    encodings = std::move(parts);
  };
}

int64_t read_token_id(const Json& value, const char* key) {
  Json pair = value.at(key);
  int64_t id = pair[1].as<int64_t>();
  if (id < 0 || id > kMaxId)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the id {} is out of range", pair.path(), id);
  return id;
}

}  // namespace

namespace post_processors {

PostProcessor bos_eos(std::vector<int64_t> bos, std::vector<int64_t> eos) {
  return [=](std::vector<Encoding>& encodings, bool add_special_tokens) {
    if (!add_special_tokens) return;
    for (size_t index = 0; index < encodings.size(); ++index)
      surround(encodings[index], bos, eos, static_cast<int64_t>(index));
  };
}

PostProcessor bert(int64_t cls, int64_t sep) {
  return [=](std::vector<Encoding>& encodings, bool add_special_tokens) {
    if (!add_special_tokens) return;
    for (size_t index = 0; index < encodings.size(); ++index)
      surround(encodings[index], index == 0 ? std::vector{cls} : std::vector<int64_t>(), {sep}, index > 0);
  };
}

PostProcessor roberta(int64_t cls, int64_t sep) {
  return [=](std::vector<Encoding>& encodings, bool add_special_tokens) {
    for (size_t index = 0; index < encodings.size(); ++index) {
      if (add_special_tokens) surround(encodings[index], {index == 0 ? cls : sep}, {sep}, 0);
      encodings[index].type_ids.assign(encodings[index].ids.size(), 0);
    }
  };
}

PostProcessor eos_once(int64_t eos) {
  return [=](std::vector<Encoding>& encodings, bool add_special_tokens) {
    for (Encoding& encoding : encodings) {
      if (add_special_tokens && (encoding.ids.empty() || encoding.ids.back() != eos))
        surround(encoding, {}, {eos}, 0);
      encoding.type_ids.assign(encoding.ids.size(), 0);
    }
  };
}

}  // namespace post_processors

PostProcessor read_post_processor(const Json& value, int depth) {
  if (depth > kMaxSequenceDepth)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: post-processors nested deeper than {}", value.path(), kMaxSequenceDepth);
  std::string type = value.at("type").as<std::string>();
  if (type == "Sequence") {
    Json list = value.at("processors");
    std::vector<PostProcessor> steps;
    int templates = 0;
    for (int64_t index = 0; index < list.size(); ++index) {
      templates += list[index].get("type", "") != "ByteLevel";
      steps.push_back(read_post_processor(list[index], depth + 1));
    }
    if (templates > 1)
      fail(ErrorKind::unsupported, "report the checkpoint's name",
           "{}: more than one post-processor that adds tokens is not implemented", value.path());
    return [steps](std::vector<Encoding>& encodings, bool add_special_tokens) {
      for (const PostProcessor& step : steps) step(encodings, add_special_tokens);
    };
  }
  if (type == "TemplateProcessing") return template_processing(value);
  if (type == "ByteLevel") {  // trims offsets, which nobody asks for here
    value.ignore({"add_prefix_space", "trim_offsets", "use_regex"});
    return [](std::vector<Encoding>&, bool) {};
  }
  if (type == "BertProcessing")
    return post_processors::bert(read_token_id(value, "cls"), read_token_id(value, "sep"));
  if (type == "RobertaProcessing") {
    value.ignore({"add_prefix_space", "trim_offsets"});
    return post_processors::roberta(read_token_id(value, "cls"), read_token_id(value, "sep"));
  }
  fail(ErrorKind::unsupported, "report the checkpoint's name", "{}: the post-processor {} is not known",
       value.path(), type);
}

}  // namespace vlm
