// Fuyu's graph with pictures between the words, as Mantis-8B-Fuyu asks.
// Reference: TIGER-AI-Lab/Mantis, mantis/models/mfuyu/processor.py.
//
//   "A <image> B" --> <s> "A image 0: " |IMAGE| [|SPEAKER| x columns, |NEWLINE|] x rows |ENDOFIMAGE| <s> "B"
//
// Unusual: <s> stands in front of every run of text; places are scaled by the picture behind their run, and
// in the last run they are text; nothing is put behind the prompt.
#include "models/interleaved/mantis_fuyu.h"

#include "models/interleaved/fuyu.h"
#include "models/interleaved/fuyu_places.h"
#include "models/interleaved/idefics_family.h"

namespace vlm::interleaved {

namespace {

constexpr char kBegin[] = "<s>", kImageOpen[] = "|IMAGE|", kImageClose[] = "|ENDOFIMAGE|";
constexpr char kTemplate[] =
    "{% if messages[0].role == 'system' %}{{ messages[0].content[0].text }}{% else %}You are a helpful "
    "language "
    "and vision assistant. You are able to understand the visual content that the user provides, and assist "
    "the "
    "user with a variety of tasks using natural language.{% endif %}{{ '\n' }}"
    "{% for message in messages if message.role != 'system' %}{{ message.role | upper }}: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% elif part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}"
    "{% if message.role == 'user' %}<0x04>{% else %}|ENDOFTEXT|{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}";

class MantisFuyu final : public Fuyu {
 public:
  MantisFuyu(const Checkpoint& checkpoint, const Weights& w)
      : Fuyu(checkpoint, w, kTemplate, {kImageMark, "", Placeholders{0}}) {}

 private:
  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override {
    std::string expanded;
    size_t begin = 0;
    for (size_t idx = 0; idx < media.size(); ++idx) {
      size_t at = text.find(kImageMark, begin);
      if (at == std::string::npos) break;
      expanded += scale_places(text.substr(begin, at - begin), fuyu_scale(media[idx])) +
                  fmt::format("image {}: ", idx) + kImageOpen + patch_marks(media[idx]) + kImageClose;
      begin = at + sizeof kImageMark - 1;
    }
    return expanded + text.substr(begin);
  }

  std::vector<int64_t> tokenise(const std::string& text) const override {
    std::vector<int64_t> ids;
    if (text.find(kImageOpen) == std::string::npos) return tokenizer().tokenizer->ids(text, false);
    for (size_t begin = 0;;) {
      size_t open = text.find(kImageOpen, begin);
      add_run(text.substr(begin, open - begin), ids);
      if (open == std::string::npos) return ids;
      size_t close = std::min(text.find(kImageClose, open), text.size());
      ids.push_back(token(kImageOpen));
      std::string_view patches = std::string_view(text).substr(open + sizeof kImageOpen - 1);
      add_patches(patches, ids);
      ids.push_back(token(kImageClose));
      begin = std::min(close + sizeof kImageClose - 1, text.size());
    }
  }

  void add_run(const std::string& run, std::vector<int64_t>& ids) const {
    if (run.empty()) return;
    ids.push_back(token(kBegin));
    if (run.find(kBoxOpen) != std::string::npos || run.find(kPointOpen) != std::string::npos) {
      add_text(run, ids);
      return;
    }
    std::vector<int64_t> pieces = tokenizer().tokenizer->ids(run, /*add_special_tokens=*/false);
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }

  std::optional<std::vector<int64_t>> target_ids(const std::string&,
                                                 const std::vector<MediaInput>&) const override {
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Model> make_mantis_fuyu(const Checkpoint& checkpoint, const Weights& weights) {
  return std::make_unique<MantisFuyu>(checkpoint, weights);
}

}  // namespace vlm::interleaved
