#include "models/florence/tasks.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace vlm::florence {

namespace {

constexpr std::string_view kInput = "{input}";
constexpr int64_t kBins = 1000;  // along each side of a picture

constexpr Task kTasks[] = {
    {"<CAPTION>", "What does the image describe?", Notation::text},
    {"<DETAILED_CAPTION>", "Describe in detail what is shown in the image.", Notation::text},
    {"<MORE_DETAILED_CAPTION>", "Describe with a paragraph what is shown in the image.", Notation::text},
    {"<OCR>", "What is the text in the image?", Notation::text},
    {"<OCR_WITH_REGION>", "What is the text in the image, with regions?", Notation::quads},
    {"<OD>", "Locate the objects with category name in the image.", Notation::labelled_boxes},
    {"<DENSE_REGION_CAPTION>", "Locate the objects in the image, with their descriptions.",
     Notation::labelled_boxes},
    {"<REGION_PROPOSAL>", "Locate the region proposals in the image.", Notation::boxes},
    {"<CAPTION_TO_PHRASE_GROUNDING>", "Locate the phrases in the caption: {input}", Notation::phrases},
    {"<REFERRING_EXPRESSION_SEGMENTATION>", "Locate {input} in the image with mask", Notation::polygons},
    {"<OPEN_VOCABULARY_DETECTION>", "Locate {input} in the image.", Notation::labelled_boxes_or_polygons},
    {"<REGION_TO_SEGMENTATION>", "What is the polygon mask of region {input}", Notation::polygons, true},
    {"<REGION_TO_CATEGORY>", "What is the region {input}?", Notation::text, true},
    {"<REGION_TO_DESCRIPTION>", "What does the region {input} describe?", Notation::text, true},
    {"<REGION_TO_OCR>", "What text is in the region {input}?", Notation::text, true},
};

// "od", "OD" and "<OD>" are one task.
const Task& find_task(const std::string& word) {
  std::string name = word;
  for (char& letter : name) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  if (!name.starts_with('<')) name = "<" + name + ">";
  std::string known;
  for (const Task& task : kTasks) {
    if (name == task.name) return task;
    known += (known.empty() ? "" : ", ") + std::string(task.name);
  }
  fail(ErrorKind::bad_request, "known: " + known, "no task of this model is called \"{}\"", word);
}

std::string stripped(const std::string& text) {
  constexpr char kBlanks[] = " \t\n\r\v\f";
  size_t begin = text.find_first_not_of(kBlanks);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

std::string location_tokens_of(const std::array<double, 4>& box_xyxy, const Image& image) {
  std::string tokens;
  for (size_t idx = 0; idx < 4; ++idx) {
    double side = static_cast<double>(idx % 2 == 0 ? image.width : image.height);
    double bin = std::floor(box_xyxy[idx] / (side / kBins));
    tokens += fmt::format("<loc_{}>", std::clamp<int64_t>(static_cast<int64_t>(bin), 0, kBins - 1));
  }
  return tokens;
}

std::string input_of(const Request& request, const Task& task, const std::string& text) {
  const auto& boxes = request.regions.boxes_xyxy;
  if (!request.regions.points.empty() || !request.regions.masks.empty())
    fail(ErrorKind::bad_request, "give the box around it", "{} takes no points and no masks", task.name);
  if (!boxes.empty()) {
    if (!task.is_of_region)
      fail(ErrorKind::bad_request, "leave the box out, or use one of the tasks <REGION_TO_...>",
           "{} takes no box", task.name);
    if (boxes.size() > 1 || request.images.empty() || !text.empty())
      fail(ErrorKind::bad_request, "give one picture and one box, and no text",
           "{} takes one region: {} boxes of {} pictures and the text \"{}\" were given", task.name,
           boxes.size(), request.images.size(), text);
    return location_tokens_of(boxes[0], request.images[0]);
  }
  if (task.takes_input() && text.empty())
    fail(ErrorKind::bad_request, task.is_of_region ? "give a box" : "give the text behind the task",
         "{} asks about something that was not given", task.name);
  if (!task.takes_input() && !text.empty())
    fail(ErrorKind::bad_request, "leave the text out", "{} takes no text, \"{}\" was given", task.name, text);
  return text;
}

}  // namespace

bool Task::takes_input() const {
  return std::string_view(question).find(kInput) != std::string_view::npos;
}

Question question_of(const Request& request, const std::string& text) {
  Question question{nullptr, text};
  if (!request.task_prompt.empty()) {
    question.task = &find_task(request.task_prompt);
  } else {
    for (const Task& task : kTasks) {
      size_t at = text.find(task.name);
      if (at == std::string::npos) continue;
      question.task = &task;
      question.text.erase(at, std::string_view(task.name).size());
      break;
    }
  }
  if (!question.task) {
    if (!request.regions.boxes_xyxy.empty())
      fail(ErrorKind::bad_request, "name the task: <REGION_TO_DESCRIPTION>", "a box without a task");
    return question;
  }
  std::string input = input_of(request, *question.task, stripped(question.text));
  question.text = question.task->question;
  if (question.task->takes_input()) question.text.replace(question.text.find(kInput), kInput.size(), input);
  return question;
}

std::vector<std::string> location_tokens() {
  std::vector<std::string> tokens{"<od>", "</od>", "<ocr>", "</ocr>"};
  for (int64_t bin = 0; bin < kBins; ++bin) tokens.push_back(fmt::format("<loc_{}>", bin));
  for (const char* word : {"cap", "ncap", "dcap", "grounding", "seg"}) {
    tokens.push_back(fmt::format("<{}>", word));
    tokens.push_back(fmt::format("</{}>", word));
  }
  // "desciption" is how the published vocabulary spells it.
  for (const char* token :
       {"<sep>", "<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>",
        "<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"})
    tokens.push_back(token);
  return tokens;
}

}  // namespace vlm::florence
