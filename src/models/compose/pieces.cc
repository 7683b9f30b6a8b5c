#include "models/compose/pieces.h"

#include "parts/connectors/mlp.h"
#include "parts/connectors/perceiver.h"
#include "parts/connectors/pixel_shuffle.h"
#include "parts/connectors/qformer.h"
#include "parts/encoders/davit.h"
#include "parts/encoders/qwen2_vit.h"
#include "parts/encoders/sam_vit.h"
#include "parts/encoders/vit.h"

namespace vlm::compose {

namespace {

// --- towers

Tower with_fixed_grid(Tower tower, int64_t side) {
  tower.fixed_grid = Grid{side, side};
  tower.grid = [=](const MediaInput&) { return Grid{side, side}; };
  return tower;
}

template <VitConfig (*read)(const Json&)>
Tower vit(const Json& config, const Weights& w) {
  VitConfig sizes = read(config.at("vision_config"));
  int64_t layer = config.get<int64_t>("vision_layer", -1);
  bool has_final_norm = config.get("vision_final_norm", layer == -1);
  bool keeps_first = config.get("vision_first_token", false) && sizes.names.class_token;
  if (has_final_norm && layer != -1)
    fail(ErrorKind::bad_checkpoint, "leave vision_final_norm out, or read the last layer",
         "config.json: vision_final_norm with vision_layer {}", layer);
  auto part = std::make_shared<const Vit>(sizes, w);
  int64_t dropped = sizes.names.class_token && !keeps_first ? 1 : 0;
  Tower tower;
  tower.width = sizes.encoder.hidden_size;
  tower.has_first_token = keeps_first;
  tower.encode = [=](const MediaInput& media) {
    const Tensor& pixels_N3HW = media.pixel_values;
    Tensor x_NSV =
        has_final_norm ? part->last_hidden_state(pixels_N3HW) : part->hidden_state(pixels_N3HW, layer);
    return x_NSV.slice(1, dropped);
  };
  return with_fixed_grid(std::move(tower), sizes.grid());
}

Tower sam(const Json& config, const Weights& w) {
  SamVitConfig sizes = SamVitConfig::from(config.at("vision_config"));
  auto part = std::make_shared<const SamVit>(sizes, w);
  Tower tower;
  tower.width = sizes.out_channels;
  tower.encode = [=](const MediaInput& media) {
    return (*part)(media.pixel_values).embeddings_NChw.flatten(2).transpose(1, 2);
  };
  return with_fixed_grid(std::move(tower), sizes.grid());
}

Tower davit(const Json& config, const Weights& w) {
  DavitConfig sizes = DavitConfig::from(config.at("vision_config"));
  auto part = std::make_shared<const Davit>(sizes, w);
  Tower tower;
  tower.width = sizes.width();
  tower.encode = [=](const MediaInput& media) {
    return (*part)(media.pixel_values).flatten(2).transpose(1, 2);
  };
  tower.grid = [=](const MediaInput& media) {
    return Grid{sizes.places(media.pixel_values.size(2)), sizes.places(media.pixel_values.size(3))};
  };
  return tower;
}

// Its own merger is part of it.
Tower qwen2(const Json& config, const Weights& w) {
  Qwen2VitConfig sizes = Qwen2VitConfig::from(config.at("vision_config"));
  auto part = std::make_shared<const Qwen2Vit>(sizes, w);
  Tower tower;
  tower.width = sizes.out_width;
  tower.encode = [=](const MediaInput& media) {
    return (*part)(media.pixel_values, PatchGrid::from(media.extra.at("image_grid_thw"))).unsqueeze(0);
  };
  tower.grid = [=](const MediaInput& media) {
    PatchGrid grid = PatchGrid::from(media.extra.at("image_grid_thw"));
    return Grid{grid.rows / sizes.merge_size, grid.columns / sizes.merge_size};
  };
  return tower;
}

struct TowerKind {
  const char* model_type;
  Tower (*make)(const Json& config, const Weights& w);
};
constexpr TowerKind kTowers[] = {{"clip_vision_model", vit<VitConfig::clip>},
                                 {"siglip_vision_model", vit<VitConfig::siglip>},
                                 {"blip_vision_model", vit<VitConfig::blip>},
                                 {"vit", vit<VitConfig::vit>},
                                 {"sam_vision_model", sam},
                                 {"davit", davit},
                                 {"qwen2_vl_vision", qwen2}};

// --- connectors

std::vector<std::string> linear_names(int64_t layers) {
  std::vector<std::string> names;
  for (int64_t idx = 1; idx <= layers; ++idx) names.push_back("linear_" + std::to_string(idx));
  return names;
}

std::function<Tensor(const Tensor&)> mlp_of(const Json& json, int64_t in, int64_t out, int64_t layers,
                                            const Weights& w) {
  Act act = act_from(json.get("act", "gelu"), json.path() + ": act");
  auto part = std::make_shared<const MlpConnector>(
      MlpConnectorArgs{.in = in, .out = out, .act = act, .names = linear_names(layers)}, w);
  return [=](const Tensor& x) { return (*part)(x); };
}

std::function<int64_t(const Grid&)> tokens_of(const Tower& tower) {
  int64_t first = tower.has_first_token ? 1 : 0;
  return [=](const Grid& grid) { return grid[0] * grid[1] + first; };
}

Connector stacked(const Json& json, const Tower& tower, int64_t width, int64_t layers, const Weights& w) {
  auto join = mlp_of(json, tower.width, width, layers, w);
  return {[=](const Tensor& x_NPV, const Grid&) { return join(x_NPV); }, tokens_of(tower)};
}

Connector linear(const Json& json, const Tower& tower, int64_t width, const Weights& w) {
  return stacked(json, tower, width, 1, w);
}

Connector mlp(const Json& json, const Tower& tower, int64_t width, const Weights& w) {
  return stacked(json, tower, width, json.integer("layers", 1, 16, 2), w);
}

Connector shuffled(const Json& json, const Tower& tower, int64_t width, const Weights& w) {
  int64_t factor = json.integer("factor", 1, 64, 2);
  auto tokens = [factor, has_first = tower.has_first_token](const Grid& grid) {
    if (grid[0] % factor != 0 || grid[1] % factor != 0 || has_first)
      fail(ErrorKind::bad_checkpoint, "choose a factor of both sides, and first_token = false",
           "pixel_shuffle: {} x {} patches{} do not divide into blocks of {} x {}", grid[0], grid[1],
           has_first ? " and a class token" : "", factor, factor);
    return grid[0] * grid[1] / (factor * factor);
  };
  if (tower.fixed_grid) tokens(*tower.fixed_grid);
  auto join = mlp_of(json, tower.width * factor * factor, width, json.integer("layers", 1, 16, 2), w);
  return {[=](const Tensor& x_NPV, const Grid& grid) {
            return join(pixel_shuffle(x_NPV, grid[0], grid[1], factor));
          },
          tokens};
}

Connector perceiver(const Json& json, const Tower& tower, int64_t width, const Weights& w) {
  PerceiverConfig config;
  config.width = tower.width;
  config.inner = json.integer("inner", 1, 1 << 20, 4 * tower.width);
  config.depth = json.integer("layers", 1, 256, 3);
  config.num_latents = json.integer("tokens", 1, 1 << 14, 64);
  config.num_heads = config.num_groups = json.integer("heads", 1, 1024, 8);
  if (tower.width % config.num_heads != 0)
    fail(ErrorKind::bad_checkpoint, "choose a divisor of the tower's width",
         "{}: {} heads for rows of width {}", json.path(), config.num_heads, tower.width);
  config.head_dim = tower.width / config.num_heads;
  auto part = std::make_shared<const Perceiver>(config, kLlamaPerceiver, w / "perceiver");
  auto out = mlp_of(json, tower.width, width, 1, w);
  int64_t tokens = config.num_latents;
  return {[=](const Tensor& x_NPV, const Grid&) { return out((*part)(x_NPV)); },
          [=](const Grid&) { return tokens; }};
}

// Its own keys are those of BLIP-2's qformer_config.
Connector qformer(const Json& json, const Tower& tower, int64_t width, const Weights& w) {
  int64_t tokens = json.integer("tokens", 1, 1 << 14, 32);
  auto part =
      std::make_shared<const QFormer>(QFormerConfig::from(json, tokens, tower.width), kBlip2QFormer, w);
  auto out = mlp_of(json, part->config().bert.hidden_size, width, 1, w);
  return {[=](const Tensor& x_NPV, const Grid&) { return out((*part)(x_NPV)); },
          [=](const Grid&) { return tokens; }};
}

struct ConnectorKind {
  const char* type;
  Connector (*make)(const Json& json, const Tower& tower, int64_t width, const Weights& w);
};
constexpr ConnectorKind kConnectors[] = {{"linear", linear},
                                         {"mlp", mlp},
                                         {"pixel_shuffle", shuffled},
                                         {"perceiver", perceiver},
                                         {"qformer", qformer}};

}  // namespace

Tower make_tower(const Json& config, const Weights& w) {
  Json vision = config.at("vision_config");
  std::string type = vision.get("model_type", ""), known;
  for (const TowerKind& kind : kTowers) {
    if (type == kind.model_type) return kind.make(config, w);
    known += (known.empty() ? "" : ", ") + std::string(kind.model_type);
  }
  fail(ErrorKind::unsupported, "known: " + known, "{}: model_type \"{}\" is not a tower that can be composed",
       vision.path(), type);
}

Connector make_connector(const Json& json, const Tower& tower, int64_t text_width, const Weights& w) {
  std::string type = json.get("type", "mlp"), known;
  for (const ConnectorKind& kind : kConnectors) {
    if (type == kind.type) return kind.make(json, tower, text_width, w);
    known += (known.empty() ? "" : ", ") + std::string(kind.type);
  }
  fail(ErrorKind::unsupported, "known: " + known, "{}: there is no connector \"{}\"", json.path(), type);
}

}  // namespace vlm::compose
