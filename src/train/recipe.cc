#include "train/recipe.h"

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace vlm {

namespace {

[[noreturn]] void wrong(const std::string& where, const char* wanted) {
  fail(ErrorKind::bad_request, "compare with the recipes that come with the program", "{}: expected {}",
       where, wanted);
}

// A table of the recipe; every key must be read before finish().
class Table {
 public:
  Table(const toml::table& table, std::string path) : table_(table), path_(std::move(path)) {}

  void read(const char* key, std::string& value) {
    if (const toml::node* node = find(key)) {
      if (!node->is_string()) wrong(where(key), "a text");
      value = node->as_string()->get();
    }
  }
  void read(const char* key, bool& value) {
    if (const toml::node* node = find(key)) {
      if (!node->is_boolean()) wrong(where(key), "true or false");
      value = node->as_boolean()->get();
    }
  }
  void read(const char* key, double& value, double low, double high) {
    if (const toml::node* node = find(key)) {
      std::optional<double> number = node->value<double>();
      if (!number || !node->is_number() || !(*number >= low && *number <= high))
        wrong(where(key), fmt::format("a number from {} to {}", low, high).c_str());
      value = *number;
    }
  }
  void read(const char* key, int64_t& value, int64_t low, int64_t high) {
    if (const toml::node* node = find(key)) {
      if (!node->is_integer() || node->as_integer()->get() < low || node->as_integer()->get() > high)
        wrong(where(key), fmt::format("a whole number from {} to {}", low, high).c_str());
      value = node->as_integer()->get();
    }
  }
  void read(const char* key, std::vector<std::string>& value) {
    const toml::node* node = find(key);
    if (!node) return;
    if (!node->is_array()) wrong(where(key), "a list of texts");
    value.clear();
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_string()) wrong(where(key), "a list of texts");
      value.push_back(item.as_string()->get());
    }
  }
  void read(const char* key, std::vector<int64_t>& value, int64_t low, int64_t high) {
    const toml::node* node = find(key);
    if (!node) return;
    if (!node->is_array()) wrong(where(key), "a list of whole numbers");
    value.clear();
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_integer() || item.as_integer()->get() < low || item.as_integer()->get() > high)
        wrong(where(key), fmt::format("whole numbers from {} to {}", low, high).c_str());
      value.push_back(item.as_integer()->get());
    }
    if (value.empty()) wrong(where(key), "at least one number");
  }
  void read(const char* key, std::map<std::string, double>& value) {
    const toml::node* node = find(key);
    if (!node) return;
    if (!node->is_table()) wrong(where(key), "a table of numbers");
    for (const auto& [name, number] : *node->as_table()) {
      if (!number.is_number()) wrong(where(key) + "." + std::string(name.str()), "a number");
      value[std::string(name.str())] = *number.value<double>();
    }
  }
  std::optional<Table> below(const char* key) {
    const toml::node* node = find(key);
    if (!node) return std::nullopt;
    if (!node->is_table()) wrong(where(key), "a table");
    return Table(*node->as_table(), where(key));
  }
  std::vector<Table> list(const char* key) {
    std::vector<Table> tables;
    const toml::node* node = find(key);
    if (!node) return tables;
    if (!node->is_array()) wrong(where(key), "tables headed by [[...]]");
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_table()) wrong(where(key), "tables headed by [[...]]");
      tables.emplace_back(*item.as_table(), fmt::format("{}[{}]", where(key), tables.size()));
    }
    return tables;
  }
  void finish() const {
    for (const auto& [name, node] : table_) {
      std::string key(name.str());
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      std::string near = nearest_word(key, known_);
      std::string list;
      for (const std::string& word : known_) list += (list.empty() ? "" : ", ") + word;
      fail(ErrorKind::bad_request, near.empty() ? "known: " + list : "did you mean " + near + "?",
           "{}: unknown key", where(key.c_str()));
    }
  }
  const std::string& path() const { return path_; }

 private:
  const toml::node* find(const char* key) {
    known_.push_back(key);
    return table_.get(key);
  }
  std::string where(const char* key) const { return path_ + (path_.ends_with(": ") ? "" : ".") + key; }

  const toml::table& table_;
  std::string path_;
  std::vector<std::string> known_;
};

void read_scenes(std::optional<Table> table, data::DataOptions& data) {
  if (!table) return;
  table->read("height", data.height, 16, 4096);
  table->read("width", data.width, 16, 4096);
  table->read("max_objects", data.scene.max_objects, 1, 64);
  table->read("text_share", data.scene.text_share, 0, 1);
  table->read("emoji_share", data.scene.emoji_share, 0, 1);
  table->read("plain_share", data.scene.plain_share, 0, 1);
  table->read("turns", data.questions.turns, 1, 64);
  table->read("caption_share", data.questions.caption_share, 0, 1);
  table->read("chat_share", data.questions.chat_share, 0, 1);
  table->read("hard_weight", data.questions.hard_weight, 0, 100);
  table->finish();
}

void read_lora(std::optional<Table> table, LoraOptions& lora) {
  if (!table) return;
  lora.rank = 8;
  table->read("rank", lora.rank, 1, 4096);
  table->read("alpha", lora.alpha, 1e-6, 1e6);
  table->read("targets", lora.targets);
  if (lora.targets.empty())
    fail(ErrorKind::bad_request, "for example targets = [\"*q_proj*\", \"*v_proj*\"]",
         "{}: no targets for the adapters", table->path());
  table->finish();
}

StageRecipe read_stage(Table table, const data::DataOptions& data) {
  constexpr double kMost = 1e9;
  constexpr int64_t kMostSteps = int64_t{1} << 40;
  StageRecipe stage;
  stage.data = data;
  table.read("name", stage.name);
  table.read("objective", stage.objective);
  constexpr std::array kObjectives{"answers", "patches", "contrastive", "pairs"};
  if (std::find(kObjectives.begin(), kObjectives.end(), stage.objective) == kObjectives.end())
    fail(ErrorKind::bad_request, "use answers, patches, contrastive or pairs", "{}.objective = \"{}\"",
         table.path(), stage.objective);
  table.read("trains", stage.trains);
  table.read("freezes", stage.freezes);
  table.read("steps", stage.steps, 1, kMostSteps);
  table.read("batch", stage.batch, 1, 1 << 20);
  table.read("accumulate", stage.accumulate, 1, 1 << 20);
  int64_t samples = 0;
  table.read("samples", samples, 1, kMostSteps);
  if ((stage.steps > 0) == (samples > 0))
    fail(ErrorKind::bad_request, "give either steps or samples", "{}: how long should it train?",
         table.path());
  if (samples > 0)
    stage.steps = (samples + stage.batch * stage.accumulate - 1) / (stage.batch * stage.accumulate);
  table.read("tokens", stage.tokens, 0, 1 << 20);
  table.read("pad", stage.pad);
  table.read("precision", stage.precision);
  if (stage.precision != "float32" && stage.precision != "bfloat16")
    fail(ErrorKind::bad_request, "use float32 or bfloat16", "{}.precision = \"{}\"", table.path(),
         stage.precision);
  table.read("lr", stage.rate.peak, 0, kMost);
  table.read("last_lr", stage.rate.last, 0, 1);
  table.read("warmup", stage.rate.warmup, 0, kMostSteps);
  table.read("cooldown", stage.rate.cooldown, 0, kMostSteps);
  std::string schedule = "cosine";
  table.read("schedule", schedule);
  stage.rate.schedule = schedule_from(schedule);
  stage.rate.steps = stage.steps;
  table.read("lr_scale", stage.lr_scale);
  table.read("beta1", stage.adam.beta1, 0, 1);
  table.read("beta2", stage.adam.beta2, 0, 1);
  table.read("epsilon", stage.adam.epsilon, 0, 1);
  table.read("weight_decay", stage.adam.weight_decay, 0, kMost);
  table.read("clip", stage.adam.clip, 0, kMost);
  table.read("average", stage.average, 0, 1);
  if (stage.objective == "patches") stage.patch_loss = 1;
  table.read("patch_loss", stage.patch_loss, 0, kMost);
  table.read("question_loss", stage.question_loss, 0, kMost);
  table.read("word_loss", stage.word_loss, 0, kMost);
  table.read("attention_loss", stage.attention_loss, 0, kMost);
  table.read("attention_layers", stage.attention_layers, 0, 1 << 10);
  table.read("apart", stage.apart, 0, 1);
  table.read("drills", stage.drills, 0, 64);
  table.read("dense_share", stage.dense_share, 0, 100);
  read_lora(table.below("lora"), stage.lora);
  read_scenes(table.below("scenes"), stage.data);
  table.finish();
  return stage;
}

// "a.b=1" sets a key; "stage.NAME.key" chooses the stage by its name.
void apply_override(toml::table& root, const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    fail(ErrorKind::bad_request, "for example stage.pretrain.lr=1e-3", "\"{}\" is no key=value", text);
  std::string path = text.substr(0, equals), value = text.substr(equals + 1);
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    parsed.insert_or_assign("value", value);  // a bare word
  }
  static const std::set<std::string> paths = {"model.folder", "model.init", "data.source", "data.images",
                                              "output.folder"};
  if (paths.count(path) > 0 && value != "scenes")  // as in a shell, not beside the recipe
    parsed.insert_or_assign("value", std::filesystem::absolute(value).string());
  toml::table* table = &root;
  for (size_t begin = 0;;) {
    size_t dot = path.find('.', begin);
    std::string key = path.substr(begin, dot - begin);
    if (dot == std::string::npos) {
      table->insert_or_assign(key, *parsed.get("value"));
      return;
    }
    begin = dot + 1;
    toml::node* node = table->get(key);
    if (node && node->is_array()) {
      dot = path.find('.', begin);
      std::string name = path.substr(begin, dot - begin);
      toml::table* found = nullptr;
      for (toml::node& item : *node->as_array())
        if (item.is_table() && (*item.as_table())["name"].value_or(std::string()) == name)
          found = item.as_table();
      if (!found || dot == std::string::npos)
        fail(ErrorKind::bad_request, "write " + key + ".NAME.key=value with the name of one of them",
             "\"{}\": the recipe has no {} called \"{}\"", text, key, name);
      table = found;
      begin = dot + 1;
      continue;
    }
    if (!node) {
      table->insert(key, toml::table{});
      node = table->get(key);
    }
    if (!node->is_table()) wrong("\"" + text + "\"", "the key of a table");
    table = node->as_table();
  }
}

}  // namespace

Recipe read_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::string text = read_text(file, 1 << 22);
  toml::table root;
  try {
    root = toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::bad_request, "correct the recipe", "{}: line {}, column {}: {}", file.string(),
         error.source().begin.line, error.source().begin.column, std::string(error.description()));
  }
  for (const std::string& change : overrides) apply_override(root, change);

  std::filesystem::path home = file.parent_path();
  Recipe recipe;
  recipe.name = file.stem().string();
  Table table(root, file.filename().string() + ": ");
  table.read("name", recipe.name);
  std::string folder, init, images, output;
  if (auto model = table.below("model")) {
    model->read("folder", folder);
    model->read("init", init);
    model->read("system", recipe.system);
    model->finish();
  }
  if (folder.empty() == init.empty())
    fail(ErrorKind::bad_request, "model.folder: a checkpoint; model.init: a folder with config and tokenizer",
         "{}: give either model.folder or model.init", file.string());
  recipe.from_scratch = folder.empty();
  recipe.model_folder = home / (folder.empty() ? init : folder);

  data::DataOptions scenes;
  if (auto data = table.below("data")) {
    data->read("source", recipe.source);
    data->read("images", images);
    int64_t seed = 0;
    data->read("seed", seed, 0, int64_t{1} << 62);
    recipe.seed = static_cast<uint64_t>(seed);
    read_scenes(data->below("scenes"), scenes);
    data->finish();
  }
  if (recipe.source != "scenes") {
    recipe.source = (home / recipe.source).string();
    recipe.images = images.empty() ? std::filesystem::path(recipe.source).parent_path() : home / images;
  }
  if (auto evaluation = table.below("evaluation")) {
    evaluation->read("every", recipe.evaluate_every, 0, int64_t{1} << 40);
    evaluation->read("questions", recipe.evaluate_questions, 1, 1 << 20);
    evaluation->finish();
  }
  if (auto run = table.below("run")) {
    run->read("workers", recipe.workers, 1, 256);
    run->finish();
  }
  if (auto out = table.below("output")) {
    out->read("folder", output);
    out->read("save_every_s", recipe.save_every_s, 1, 1e9);
    out->read("dtype", recipe.save_dtype);
    out->finish();
  }
  if (recipe.save_dtype != "float32" && recipe.save_dtype != "bfloat16")
    fail(ErrorKind::bad_request, "use float32 or bfloat16", "{}: output.dtype = \"{}\"", file.string(),
         recipe.save_dtype);
  if (output.empty())
    fail(ErrorKind::bad_request, "add output.folder=PATH", "{}: no output folder", file.string());
  recipe.output = home / output;
  std::set<std::string> names;
  for (Table& stage : table.list("stage")) {
    recipe.stages.push_back(read_stage(std::move(stage), scenes));
    StageRecipe& read = recipe.stages.back();
    if (read.name.empty()) read.name = fmt::format("stage{}", recipe.stages.size());
    if (!names.insert(read.name).second)
      fail(ErrorKind::bad_request, "give every stage a name of its own", "{}: two stages are called \"{}\"",
           file.string(), read.name);
  }
  table.finish();
  if (recipe.stages.empty())
    fail(ErrorKind::bad_request, "add a [[stage]]", "{}: nothing to train", file.string());
  return recipe;
}

}  // namespace vlm
