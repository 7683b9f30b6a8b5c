// What the public handles hold, and what every function of the public API runs in.
#pragma once

#define VLM_BUILDING_LIBRARY

#include <memory>
#include <string>
#include <vector>

#include "engine/boundary.h"
#include "engine/feature_cache.h"
#include "engine/session.h"
#include "media/image.h"
#include "system/system.h"
#include "vlm/vlm.h"

namespace vlm::v0 {

struct Image::Data {
  vlm::Image image;
};

struct Model::Data {
  std::shared_ptr<const LoadedModel> loaded;
  std::shared_ptr<FeatureCache> cache;
  ModelInfo info;
};

struct Access {
  static Image image(vlm::Image image) {
    return Image(std::make_shared<Image::Data>(Image::Data{std::move(image)}));
  }
  static const vlm::Image& image(const Image& image) { return image.data_->image; }
  static Model model(Model::Data data) { return Model(std::make_shared<const Model::Data>(std::move(data))); }
};

std::vector<vlm::Image> engine_images(const std::vector<Image>& images);

// Answers in a session; what `on_text` throws comes out of here unchanged.
Answer answer_in(Session& session, Request request, const AskOptions& options, const OnText& on_text);

void use_chosen_threads();  // OpenMP keeps the number for each thread apart

template <typename Body>
auto enter(Body&& body) -> decltype(body()) {
  use_chosen_threads();
  return with_errors(body);
}

}  // namespace vlm::v0
