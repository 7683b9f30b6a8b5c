#include "engine/case.h"

#include "base/error.h"
#include "weights/delta_source.h"

namespace vlm {

namespace {

// A video's file, or the list of its frames' files.
Video read_video(const Json& path, const std::filesystem::path& folder) {
  if (path.is_string()) return Video::open(folder / path.as<std::string>());
  std::vector<Image> frames;
  for (int64_t idx = 0; idx < path.size(); ++idx)
    frames.push_back(read_image(folder / path[idx].as<std::string>()));
  return Video::from_frames(std::move(frames));
}

ChatMessage message_from(const Json& json, Request& request, const std::filesystem::path& folder) {
  ChatMessage message{json.at("role").as<std::string>(), {}};
  Json content = json.at("content");
  if (content.is_string()) {
    message.content.push_back({ContentPart::Kind::text, content.as<std::string>()});
    return message;
  }
  for (int64_t idx = 0; idx < content.size(); ++idx) {
    Json part = content[idx];
    std::string type = part.at("type").as<std::string>();
    if (type == "text") {
      message.content.push_back({ContentPart::Kind::text, part.at("text").as<std::string>()});
    } else if (type == "image") {
      message.content.push_back({ContentPart::Kind::image, ""});
      request.images.push_back(read_image(folder / part.at("path").as<std::string>()));
    } else if (type == "video") {
      message.content.push_back({ContentPart::Kind::video, ""});
      request.videos.push_back(read_video(part.at("path"), folder));
    } else {
      fail(ErrorKind::unsupported, "known: text, image, video", "{}: content of type \"{}\"", part.path(),
           type);
    }
  }
  return message;
}

RegionPrompt regions_from(const Json& inputs, const std::filesystem::path& folder) {
  RegionPrompt regions;
  Json boxes = inputs.find("boxes"), points = inputs.find("points");
  for (int64_t idx = 0; idx < boxes.size(); ++idx) {
    std::vector<double> box = boxes[idx].as<std::vector<double>>();
    regions.boxes_xyxy.push_back({box.at(0), box.at(1), box.at(2), box.at(3)});
  }
  for (int64_t idx = 0; idx < points.size(); ++idx) {
    std::vector<double> point = points[idx].as<std::vector<double>>();
    regions.points.push_back({point.at(0), point.at(1)});
  }
  regions.point_labels = inputs.get("point_labels", std::vector<int64_t>{});
  for (const std::string& mask : inputs.get("masks", std::vector<std::string>{}))
    regions.masks.push_back(read_image(folder / mask));
  return regions;
}

ReferenceCase::ReadAnswer answer_from(const Json& json) {
  ReferenceCase::ReadAnswer answer;
  if (json.has("text")) answer.text = json.at("text").as<std::string>();
  if (json.has("caption")) answer.caption = json.at("caption").as<std::string>();
  if (json.has("labels")) answer.labels = json.at("labels").as<std::vector<std::string>>();
  Json spans = json.find("spans");
  for (int64_t idx = 0; idx < spans.size(); ++idx) {
    std::vector<int64_t> span = spans[idx].as<std::vector<int64_t>>();
    answer.spans.push_back({span.at(0), span.at(1)});
  }
  return answer;
}

}  // namespace

ReferenceCase ReferenceCase::read(const std::filesystem::path& folder) {
  Json json = Json::read_file(folder / "case.json");
  if (int64_t format = json.at("format").as<int64_t>(); format != 1)
    fail(ErrorKind::unsupported, "update vlm", "{}: format {} of a newer version; 1 is known",
         (folder / "case.json").string(), format);
  ReferenceCase result;
  result.folder = folder;
  result.system = json.at("system").as<std::string>();
  result.task = json.at("task").as<std::string>();
  if (json.has("base")) result.base = folder / json.at("base").as<std::string>();
  Json inputs = json.at("inputs");
  Json messages = inputs.find("messages");
  for (int64_t idx = 0; idx < messages.size(); ++idx)
    result.request.messages.push_back(message_from(messages[idx], result.request, folder));
  result.request.prompt = inputs.get("prompt", "");
  for (const std::string& path : inputs.get("images", std::vector<std::string>{}))
    result.request.images.push_back(read_image(folder / path));
  Json videos = inputs.find("video");
  for (int64_t idx = 0; idx < videos.size(); ++idx)
    result.request.videos.push_back(read_video(videos[idx], folder));
  result.request.task_prompt = inputs.get("task_prompt", "");
  result.request.regions = regions_from(inputs, folder);
  if (inputs.has("target")) result.request.target = inputs.at("target").as<std::string>();
  result.texts = inputs.get("texts", std::vector<std::string>{});
  result.answers = inputs.get("answers", std::vector<std::string>{});
  result.max_new_tokens = json.find("generate").get<int64_t>("max_new_tokens", 0);
  result.num_beams = json.find("generate").get<int64_t>("num_beams", 1);
  if (json.has("rendered_prompt")) result.rendered_prompt = json.at("rendered_prompt").as<std::string>();
  if (json.has("answer")) result.answer = answer_from(json.at("answer"));
  Json checks = json.at("checks");
  for (int64_t idx = 0; idx < checks.size(); ++idx) {
    Json check = checks[idx];
    result.checks.push_back({check.at("tensor").as<std::string>(), check.get("exact", false),
                             check.get("atol", 0.0), check.get("rtol", 0.0)});
  }
  if (result.checks.empty())
    fail(ErrorKind::bad_request, "list what to compare", "{}: no checks", (folder / "case.json").string());
  result.expected = open_safetensors(folder / "expected.safetensors");
  return result;
}

Checkpoint ReferenceCase::open_checkpoint() const {
  Checkpoint checkpoint = Checkpoint::open(folder / "checkpoint");
  if (!base.empty()) checkpoint.source = delta_source(checkpoint.source, open_weights(base));
  return checkpoint;
}

}  // namespace vlm
