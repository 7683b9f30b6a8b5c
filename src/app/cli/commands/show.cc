// What a checkpoint holds, without reading its weights' values.
#include <array>
#include <map>
#include <set>

#include "app/cli/commands/models.h"
#include "app/cli/status.h"
#include "base/parallel.h"
#include "system/published_sizes.h"

namespace vlm::cli {

namespace {

struct PartSize {
  int64_t parameters = 0;
  int64_t file_bytes = 0;
  std::array<int64_t, kPrecisions.size()> loaded{};  // bytes
};

// By the first parts of the tensor's name: enough to tell tower, connector and language model apart.
std::string part_of(const std::string& name) {
  size_t end = name.find('.');
  if (end != std::string::npos && name.substr(0, end) == "model") {
    size_t next = name.find('.', end + 1);
    if (next != std::string::npos) end = next;
  }
  return name.substr(0, end);
}

// A stored tensor's share; quantised matrices have their scales beside them (weights/weights.h).
void add_tensor(const TensorSource& source, const std::string& name, PartSize& size) {
  TensorInfo info = source.info(name);
  size.file_bytes += info.file_bytes;
  for (const char* beside : {"_scale", "_min", "_order"})
    if (name.ends_with(beside) && source.has(name.substr(0, name.size() - std::string_view(beside).size())))
      return;
  bool is_quantised = source.has(name + "_scale"), is_int4 = is_quantised && info.dtype == at::kByte;
  if (is_int4) info.shape.back() *= 2;
  size.parameters += c10::multiply_integers(info.shape);
  for (size_t idx = 0; idx < kPrecisions.size(); ++idx) {
    Precision precision = kPrecisions[idx];
    if (is_quantised && precision != Precision::f32) precision = is_int4 ? Precision::int4 : Precision::int8;
    size.loaded[idx] += loaded_bytes(name, info.shape, precision);
  }
}

std::string tasks_text(const Model& model) {
  std::string text;
  auto add = [&](bool has, const char* word) {
    if (has) text += (text.empty() ? "" : ", ") + std::string(word);
  };
  add(as<Generator>(model), "run, chat");
  add(as<ImageEmbedder>(model) || as<TextEmbedder>(model), "embed, similarity");
  add(as<Embedder>(model), "classify --labels");
  add(as<Classifier>(model), "classify");
  add(as<LanguageTrainable>(model) || as<Embedder>(model), "train");
  return text;
}

// Feature rows of a picture of the size that the checkpoint's processor makes; none when it has no pictures.
std::optional<int64_t> tokens_per_image(const LoadedModel& loaded) {
  const auto* generator = as<Generator>(*loaded.model);
  if (!generator || loaded.checkpoint.preprocessor.is_null()) return std::nullopt;
  Request request;
  request.messages.push_back({"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, "?"}}});
  request.images.push_back(Image::filled(336, 336, {128, 128, 128}));
  Prompt with_picture = generator->prepare(request);
  if (int64_t rows = with_picture.media.empty() ? 0 : with_picture.media.front().rows) return rows;
  std::map<int64_t, int64_t> counts;
  for (int64_t id : with_picture.ids) ++counts[id];
  int64_t most = 0;
  for (const auto& [id, count] : counts) most = std::max(most, count);
  return most;
}

std::string picture_size(const Json& preprocessor) {
  for (const char* key : {"crop_size", "size"}) {
    Json size = preprocessor.find(key);
    if (size.is_number()) return fmt::format("{0} x {0}", size.as<int64_t>());
    if (size.has("height") && size.has("width"))
      return fmt::format("{} x {}", size.at("width").as<int64_t>(), size.at("height").as<int64_t>());
    if (size.has("shortest_edge"))
      return fmt::format("shortest side {}", size.at("shortest_edge").as<int64_t>());
  }
  return "";
}

}  // namespace

int run_command(const ShowOptions& show, const Context& context) {
  LoadOptions options = load_options(show.model);
  std::shared_ptr<const LoadedModel> loaded = load_model(show.model.model, options);
  const TensorSource& source = *loaded->checkpoint.source;
  std::map<std::string, PartSize> parts;
  PartSize total;
  std::vector<std::string> ignored = loaded->weights->ignored_names();
  std::set<std::string> unread(ignored.begin(), ignored.end());
  for (const std::string& name : source.names())
    if (!unread.count(name))
      for (PartSize* size : {&parts[part_of(name)], &total}) add_tensor(source, name, *size);
  std::optional<int64_t> tokens = tokens_per_image(*loaded);
  std::string picture = picture_size(loaded->checkpoint.preprocessor);
  const auto* generator = as<Generator>(*loaded->model);
  if (context.options.json) {
    nlohmann::ordered_json json{
        {"model", loaded->checkpoint.name},       {"folder", loaded->checkpoint.folder.string()},
        {"system", loaded->system->slug},         {"status", status_of(loaded->system->slug)},
        {"commands", tasks_text(*loaded->model)}, {"parameters", total.parameters}};
    for (const auto& [name, size] : parts)
      json["parts"].push_back(
          {{"name", name}, {"parameters", size.parameters}, {"file_bytes", size.file_bytes}});
    for (size_t idx = 0; idx < kPrecisions.size(); ++idx)
      json["memory_bytes"][precision_name(kPrecisions[idx])] = total.loaded[idx];
    if (tokens) json["tokens_per_image"] = *tokens;
    if (!picture.empty()) json["picture"] = picture;
    if (generator) json["context"] = generator->max_positions();
    json["has_chat_template"] = loaded->checkpoint.chat_template != nullptr;
    print_json(json);
    return kExitOk;
  }
  const Stream& out = context.terminal.out;
  auto line = [&](const std::string& label, const std::string& text) {
    print(out.paint(Ink::dim, fmt::format("{:<14}", label)) + text + "\n");
  };
  print(out.paint(Ink::bold, loaded->checkpoint.name) + "\n");
  line("folder", loaded->checkpoint.folder.string());
  line("weights", source.describe());
  line("system", std::string(loaded->system->slug) + "  (`vlm show " + loaded->system->slug + "`)");
  line("commands", tasks_text(*loaded->model));
  line("parameters", count_text(static_cast<double>(total.parameters)));
  for (const auto& [name, size] : parts)
    line("", fmt::format("{:<28} {:>8}  {:>8}", name, count_text(static_cast<double>(size.parameters)),
                         bytes_text(static_cast<double>(size.file_bytes))));
  std::string memory;
  for (size_t idx = 0; idx < kPrecisions.size(); ++idx)
    memory += fmt::format("{}{} {}", memory.empty() ? "" : ", ", precision_name(kPrecisions[idx]),
                          bytes_text(static_cast<double>(total.loaded[idx])));
  line("memory", memory);
  if (!picture.empty()) line("picture", picture);
  if (tokens) line("tokens", fmt::format("{} for a picture", *tokens));
  if (generator) line("context", fmt::format("{} tokens", generator->max_positions()));
  if (generator) line("template", loaded->checkpoint.chat_template ? "of the checkpoint" : "of the system");
  return kExitOk;
}

}  // namespace vlm::cli
