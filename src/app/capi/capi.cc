// The C API over the C++ one: handles are its values on the heap, exceptions become codes.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "app/capi/findings.h"
#include "app/capi/handles.h"
#include "vlm/capi.h"

struct vlm_model {
  vlm::v0::Model model;
};
struct vlm_image {
  vlm::v0::Image image;
};
struct vlm_chat {
  vlm::v0::Chat chat;
};

namespace {

using namespace vlm::v0;
using vlm::Error;
using vlm::ErrorKind;

struct LastError {
  std::string message, hint;
};
LastError& last_error() {
  thread_local LastError error;
  return error;
}

vlm_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_request:
      return VLM_BAD_REQUEST;
    case ErrorKind::not_found:
      return VLM_NOT_FOUND;
    case ErrorKind::unsupported:
      return VLM_UNSUPPORTED;
    case ErrorKind::bad_checkpoint:
      return VLM_BAD_CHECKPOINT;
    case ErrorKind::out_of_resources:
      return VLM_OUT_OF_RESOURCES;
    case ErrorKind::internal:
      return VLM_INTERNAL;
  }
  return VLM_INTERNAL;
}

// Nothing thrown passes; not even running out of memory while an error is described.
template <typename Body>
vlm_status translate(Body&& body) noexcept {
  try {
    try {
      body();
      return VLM_OK;
    } catch (...) {
      Error error = vlm::current_error();
      last_error() = {error.message(), error.hint()};
      return status_of(error.kind());
    }
  } catch (...) {
    last_error().message.clear();
    last_error().hint.clear();
    return VLM_OUT_OF_RESOURCES;
  }
}

// `pointer` as a value; a null one is the caller's mistake.
template <typename Type>
Type& given(Type* pointer, const char* name) {
  if (!pointer) vlm::fail(ErrorKind::bad_request, "give a pointer to it", "{} is NULL", name);
  return *pointer;
}

// A new handle at `place`, which is looked at before the work is done.
template <typename Handle, typename Make>
void put_handle(Handle** place, const char* name, Make&& make) {
  Handle*& handle = given(place, name);
  handle = new Handle{make()};
}

std::string text_given(const char* text, const char* name) {
  return &given(text, name);
}

std::string text_or(const char* text, const char* otherwise) {
  return text ? text : otherwise;
}

// What the caller's version of the struct holds; the rest keeps its default.
template <typename Struct>
Struct complete(const Struct* given_by_caller, Struct defaults, const char* name) {
  if (!given_by_caller) return defaults;
  size_t size = given_by_caller->struct_size;
  if (size < sizeof(size_t) || size > 4096)
    vlm::fail(ErrorKind::bad_request, "initialise it with its _INIT macro", "{}.struct_size is {}", name,
              size);
  std::memcpy(&defaults, given_by_caller, std::min(size, sizeof(Struct)));
  return defaults;
}

std::vector<std::string> texts_from(const char* const* texts, size_t num, const char* name) {
  std::vector<std::string> list;
  if (num > 0) given(texts, name);
  for (size_t idx = 0; idx < num; ++idx)
    list.push_back(text_given(texts[idx], (name + ("[" + std::to_string(idx) + "]")).c_str()));
  return list;
}

std::vector<Image> images_from(const vlm_image* const* images, size_t num) {
  std::vector<Image> list;
  if (num > 0) given(images, "images");
  for (size_t idx = 0; idx < num; ++idx)
    list.push_back(given(images[idx], ("images[" + std::to_string(idx) + "]").c_str()).image);
  return list;
}

char* copy_out(const std::string& text) {
  char* copy = static_cast<char*>(allocate(text.size() + 1));
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

float* copy_out(const std::vector<float>& values) {
  float* copy = static_cast<float*>(allocate(values.size() * sizeof(float)));
  std::copy(values.begin(), values.end(), copy);
  return copy;
}

RegionPrompt regions_given(const vlm_ask_options& from) {
  RegionPrompt regions;
  if (from.num_boxes > 0) given(from.boxes, "options.boxes");
  for (size_t idx = 0; idx < from.num_boxes; ++idx) {
    const double* box = from.boxes + 4 * idx;
    regions.boxes.push_back({box[0], box[1], box[2], box[3]});
  }
  if (from.num_points > 0) given(from.points, "options.points");
  for (size_t idx = 0; idx < from.num_points; ++idx) {
    regions.points.push_back({from.points[2 * idx], from.points[2 * idx + 1]});
    regions.point_is_outside.push_back(from.points_outside && from.points_outside[idx] != 0);
  }
  regions.masks = images_from(from.masks, from.num_masks);
  return regions;
}

AskOptions ask_options(const vlm_ask_options* from) {
  vlm_ask_options given_options = complete(from, VLM_ASK_OPTIONS_INIT, "options");
  AskOptions options;
  options.max_new_tokens = given_options.max_new_tokens;
  options.temperature = given_options.temperature;
  options.top_k = given_options.top_k;
  options.top_p = given_options.top_p;
  options.min_p = given_options.min_p;
  options.repetition_penalty = given_options.repetition_penalty;
  options.presence_penalty = given_options.presence_penalty;
  options.frequency_penalty = given_options.frequency_penalty;
  options.seed = given_options.seed;
  options.stop = texts_from(given_options.stop, given_options.num_stop, "options.stop");
  options.num_beams = given_options.num_beams;
  options.length_penalty = given_options.length_penalty;
  options.no_repeat_ngram_size = given_options.no_repeat_ngram_size;
  options.speculate = given_options.speculate;
  options.task = text_or(given_options.task, "");
  options.regions = regions_given(given_options);
  return options;
}

vlm_finish finish_from(Finish finish) {
  switch (finish) {
    case Finish::stop:
      return VLM_FINISH_STOP;
    case Finish::length:
      return VLM_FINISH_LENGTH;
    case Finish::cancelled:
      return VLM_FINISH_CANCELLED;
  }
  return VLM_FINISH_STOP;
}

void write_info(const Answer& answer, vlm_answer_info* info, vlm_findings** findings) {
  if (!info) return;
  vlm_answer_info filled{std::min(info->struct_size, sizeof(vlm_answer_info)),
                         finish_from(answer.finish),
                         answer.tokens_prompt,
                         answer.tokens_reused,
                         answer.tokens_generated,
                         answer.seconds_encode,
                         answer.seconds_prefill,
                         answer.seconds_decode,
                         findings,
                         answer.tokens_guessed,
                         answer.tokens_accepted};
  std::memcpy(info, &filled, filled.struct_size);
}

// `ask` gets options and callback in the form of the C++ API.
template <typename Ask>
void ask_and_copy(const vlm_ask_options* options, vlm_text_function on_text, void* user, char** answer,
                  vlm_answer_info* info, Ask&& ask) {
  vlm_answer_info wanted = complete(info, VLM_ANSWER_INFO_INIT, "info");
  OnText hand_on;
  if (on_text)
    hand_on = [on_text, user](const std::string& text) { return on_text(text.c_str(), user) != 0; };
  Answer found = ask(ask_options(options), hand_on);
  Memory<vlm_findings> findings;  // until nothing can fail any more
  if (wanted.findings) findings = copy_findings(found);
  if (answer) *answer = copy_out(found.text);
  if (findings) *wanted.findings = findings.release();
  write_info(found, info, wanted.findings);
}

}  // namespace

extern "C" {

const char* vlm_version(void) {
  return version();
}

const char* vlm_last_error(void) {
  return last_error().message.c_str();
}

const char* vlm_last_hint(void) {
  return last_error().hint.c_str();
}

void vlm_free(void* memory) {
  std::free(memory);
}

void vlm_set_threads(int count) {
  translate([&] { set_threads(std::max(count, 0)); });
}

void vlm_set_log(vlm_log_function function, void* user) {
  translate([&] {
    if (!function) return set_log({});
    set_log([function, user](LogLevel level, const std::string& message) {
      function(static_cast<vlm_log_level>(level), message.c_str(), user);
    });
  });
}

vlm_status vlm_image_from_file(const char* path, vlm_image** image) {
  return translate(
      [&] { put_handle(image, "image", [&] { return Image::from_file(text_given(path, "path")); }); });
}

vlm_status vlm_image_from_memory(const void* data, size_t size, vlm_image** image) {
  return translate([&] { put_handle(image, "image", [&] { return Image::from_memory(data, size); }); });
}

vlm_status vlm_image_from_pixels(const uint8_t* rgb, int64_t height, int64_t width, int64_t row_bytes,
                                 vlm_image** image) {
  return translate(
      [&] { put_handle(image, "image", [&] { return Image::from_pixels(rgb, height, width, row_bytes); }); });
}

int64_t vlm_image_height(const vlm_image* image) {
  return image ? image->image.height() : 0;
}

int64_t vlm_image_width(const vlm_image* image) {
  return image ? image->image.width() : 0;
}

void vlm_image_release(vlm_image* image) {
  delete image;
}

vlm_status vlm_model_load(const char* name, const vlm_load_options* options, vlm_model** model) {
  return translate([&] {
    vlm_load_options from = complete(options, VLM_LOAD_OPTIONS_INIT, "options");
    LoadOptions load;
    load.precision = text_or(from.precision, "auto");
    load.revision = text_or(from.revision, "main");
    load.system = text_or(from.system, "");
    load.lenient = from.lenient != 0;
    load.kv_precision = text_or(from.kv_precision, "auto");
    put_handle(model, "model", [&] { return Model::load(text_given(name, "name"), load); });
  });
}

void vlm_model_release(vlm_model* model) {
  delete model;
}

const char* vlm_model_name(const vlm_model* model) {
  return model ? model->model.info().name.c_str() : "";
}

const char* vlm_model_system(const vlm_model* model) {
  return model ? model->model.info().system.c_str() : "";
}

const char* vlm_model_precision(const vlm_model* model) {
  return model ? model->model.info().precision.c_str() : "";
}

int64_t vlm_model_num_parameters(const vlm_model* model) {
  return model ? model->model.info().num_parameters : 0;
}

int64_t vlm_model_max_tokens(const vlm_model* model) {
  return model ? model->model.info().max_tokens : 0;
}

int vlm_model_can(const vlm_model* model, vlm_task task) {
  if (!model) return 0;
  const ModelInfo& info = model->model.info();
  switch (task) {
    case VLM_TASK_CHAT:
      return info.can_chat;
    case VLM_TASK_EMBED_IMAGES:
      return info.can_embed_images;
    case VLM_TASK_EMBED_TEXTS:
      return info.can_embed_texts;
    case VLM_TASK_CLASSIFY:
      return info.can_classify;
  }
  return 0;
}

vlm_status vlm_model_published_options(const vlm_model* model, vlm_ask_options* options) {
  return translate([&] {
    complete(options, VLM_ASK_OPTIONS_INIT, "options");  // refuses a size that cannot be
    const AskOptions published = given(model, "model").model.published_options();
    vlm_ask_options filled = VLM_ASK_OPTIONS_INIT;
    filled.struct_size = std::min(given(options, "options").struct_size, sizeof(vlm_ask_options));
    filled.max_new_tokens = published.max_new_tokens;
    filled.temperature = published.temperature;
    filled.top_k = published.top_k;
    filled.top_p = published.top_p;
    filled.min_p = published.min_p;
    filled.repetition_penalty = published.repetition_penalty;
    filled.no_repeat_ngram_size = published.no_repeat_ngram_size;
    std::memcpy(options, &filled, filled.struct_size);
  });
}

vlm_status vlm_chat_new(const vlm_model* model, const char* system_prompt, vlm_chat** chat) {
  return translate([&] {
    put_handle(chat, "chat", [&] { return given(model, "model").model.chat(text_or(system_prompt, "")); });
  });
}

vlm_status vlm_chat_ask(vlm_chat* chat, const char* text, const vlm_image* const* images, size_t num_images,
                        const vlm_ask_options* options, vlm_text_function on_text, void* user, char** answer,
                        vlm_answer_info* info) {
  return translate([&] {
    ask_and_copy(options, on_text, user, answer, info, [&](const AskOptions& ask, const OnText& hand_on) {
      return given(chat, "chat")
          .chat.ask(text_given(text, "text"), images_from(images, num_images), ask, hand_on);
    });
  });
}

vlm_status vlm_chat_clear(vlm_chat* chat) {
  return translate([&] { given(chat, "chat").chat.clear(); });
}

void vlm_chat_release(vlm_chat* chat) {
  delete chat;
}

vlm_status vlm_generate(const vlm_model* model, const char* prompt, const vlm_image* const* images,
                        size_t num_images, const vlm_ask_options* options, vlm_text_function on_text,
                        void* user, char** answer, vlm_answer_info* info) {
  return translate([&] {
    ask_and_copy(options, on_text, user, answer, info, [&](const AskOptions& ask, const OnText& hand_on) {
      return given(model, "model")
          .model.generate(text_given(prompt, "prompt"), images_from(images, num_images), ask, hand_on);
    });
  });
}

vlm_status vlm_embed_images(const vlm_model* model, const vlm_image* const* images, size_t num,
                            float** values, size_t* width) {
  return translate([&] {
    given(values, "values"), given(width, "width");
    Embeddings rows = given(model, "model").model.embed_images(images_from(images, num));
    *values = copy_out(rows.values);
    *width = rows.width;
  });
}

vlm_status vlm_embed_texts(const vlm_model* model, const char* const* texts, size_t num, float** values,
                           size_t* width) {
  return translate([&] {
    given(values, "values"), given(width, "width");
    Embeddings rows = given(model, "model").model.embed_texts(texts_from(texts, num, "texts"));
    *values = copy_out(rows.values);
    *width = rows.width;
  });
}

vlm_status vlm_similarity(const vlm_model* model, const vlm_image* const* images, size_t num_images,
                          const char* const* texts, size_t num_texts, float** values) {
  return translate([&] {
    given(values, "values");
    *values = copy_out(
        given(model, "model")
            .model.similarity(images_from(images, num_images), texts_from(texts, num_texts, "texts")));
  });
}

vlm_status vlm_classify(const vlm_model* model, const vlm_image* image, const char* const* labels,
                        size_t num_labels, size_t top, vlm_label** found, size_t* num_found) {
  return translate([&] {
    given(found, "found"), given(num_found, "num_found");
    const Model& classifier = given(model, "model").model;
    const Image& picture = given(image, "image").image;
    std::vector<Label> best =
        num_labels == 0 ? classifier.classify(picture, top)
                        : classifier.classify(picture, texts_from(labels, num_labels, "labels"), top);
    // The labels, then their names, in one piece.
    size_t bytes = best.size() * sizeof(vlm_label);
    for (const Label& label : best) bytes += label.name.size() + 1;
    auto* list = static_cast<vlm_label*>(allocate(bytes));
    char* names = reinterpret_cast<char*>(list + best.size());
    for (size_t idx = 0; idx < best.size(); ++idx) {
      std::memcpy(names, best[idx].name.c_str(), best[idx].name.size() + 1);
      list[idx] = {names, best[idx].score};
      names += best[idx].name.size() + 1;
    }
    *found = list;
    *num_found = best.size();
  });
}

}  // extern "C"
