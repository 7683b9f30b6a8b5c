#include "weights/weights.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/log.h"
#include "tensor/group_layout.h"

namespace vlm {

namespace {

constexpr double kShownBytes = 256e6;  // smaller files are there before a bar could be read
constexpr size_t kReportedNames = 12;  // of each kind; more would bury the hint

}  // namespace

Precision precision_from(const std::string& word) {
  for (Precision precision : {Precision::f32, Precision::bf16, Precision::int8, Precision::int4})
    if (word == precision_name(precision)) return precision;
  fail(ErrorKind::bad_request, "use f32, bf16, int8 or int4", "unknown precision \"{}\"", word);
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::bf16:
      return "bf16";
    case Precision::int8:
      return "int8";
    case Precision::int4:
      return "int4";
  }
  return "f32";
}

Tensor dequantise(const GroupQuantised& matrix) {
  Tensor values = dequantise_groups(matrix.quants, matrix.scales, matrix.minimums);
  return matrix.input_order.defined() ? at::empty_like(values).index_copy_(1, matrix.input_order, values)
                                      : values;
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  for (size_t bar = pattern.find('|'); bar != std::string_view::npos; bar = pattern.find('|')) {
    if (glob_matches(pattern.substr(0, bar), name)) return true;
    pattern.remove_prefix(bar + 1);
  }
  size_t at_pattern = 0, at_name = 0, star = std::string_view::npos, star_name = 0;
  while (at_name < name.size()) {
    if (at_pattern < pattern.size() && (pattern[at_pattern] == '?' || pattern[at_pattern] == name[at_name])) {
      ++at_pattern, ++at_name;
    } else if (at_pattern < pattern.size() && pattern[at_pattern] == '*') {
      star = at_pattern++;
      star_name = at_name;
    } else if (star != std::string_view::npos) {  // let the last star swallow one letter more
      at_pattern = star + 1;
      at_name = ++star_name;
    } else {
      return false;
    }
  }
  while (at_pattern < pattern.size() && pattern[at_pattern] == '*') ++at_pattern;
  return at_pattern == pattern.size();
}

struct Weights::Store {
  std::shared_ptr<const TensorSource> source;
  WeightsOptions options;
  std::vector<Rename> renames;

  std::unordered_map<std::string, Tensor> taken;  // by file name: a tied tensor is one tensor
  std::set<std::string> used;
  std::vector<std::string> ignored_patterns;
  std::vector<Parameter> parameters;
  int64_t parameter_count = 0;

  struct Missing {
    std::string name;
    Shape wanted;
  };
  std::vector<Missing> missing;
  struct Misshapen {
    std::string name;
    Shape wanted, found;
  };
  std::vector<Misshapen> misshapen;
  Progress progress{"loading weights", 0, 0, "bytes", ""};  // total 0: too little to show

  void use(const std::string& file_name) {
    if (!used.insert(file_name).second || progress.total == 0) return;
    report_progress(progress);
    progress.done += static_cast<double>(source->info(file_name).file_bytes);
  }
};

Weights::Weights(std::shared_ptr<const TensorSource> source, WeightsOptions options,
                 std::vector<Rename> renames)
    : store_(std::make_shared<Store>()) {
  store_->source = std::move(source);
  store_->options = std::move(options);
  store_->renames = std::move(renames);
  std::sort(store_->renames.begin(), store_->renames.end(),
            [](const Rename& left, const Rename& right) { return left.from.size() > right.from.size(); });
  if (store_->source->invents_names() || is_abstract()) return;
  double bytes = 0;
  for (const std::string& name : store_->source->names())
    bytes += static_cast<double>(store_->source->info(name).file_bytes);
  if (bytes >= kShownBytes) store_->progress.total = bytes;
}

Weights::Weights(std::shared_ptr<Store> store, std::string prefix)
    : store_(std::move(store)), prefix_(std::move(prefix)) {}

Weights Weights::operator/(std::string_view name) const {
  if (name.empty()) return *this;
  return Weights(store_, prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name));
}

Weights Weights::operator/(int64_t idx) const {
  return *this / std::to_string(idx);
}

std::string Weights::full_name(std::string_view name) const {
  std::string asked = prefix_;
  if (!name.empty()) asked += (asked.empty() ? "" : ".") + std::string(name);
  for (const Rename& rename : store_->renames)
    if (asked.compare(0, rename.from.size(), rename.from) == 0)
      return rename.to + asked.substr(rename.from.size());
  return asked;
}

const WeightsOptions& Weights::options() const {
  return store_->options;
}
bool Weights::is_abstract() const {
  return store_->source->is_abstract();
}
const TensorSource& Weights::source() const {
  return *store_->source;
}

bool Weights::has(std::string_view name) const {
  return store_->source->has(full_name(name));
}

bool Weights::has_below() const {
  if (store_->source->invents_names()) return true;
  std::string start = full_name("") + ".";
  for (const std::string& name : store_->source->names())
    if (name.compare(0, start.size(), start) == 0) return true;
  return false;
}

std::optional<Shape> Weights::stored_shape(std::string_view name) const {
  std::string file_name = full_name(name);
  if (store_->source->invents_names() || !store_->source->has(file_name)) return std::nullopt;
  return store_->source->info(file_name).shape;
}

void Weights::ignore(std::string_view pattern) const {
  store_->ignored_patterns.push_back(full_name(pattern));
}

Tensor Weights::stand_in(const Shape& shape) const {
  return at::zeros({}).expand(shape);
}

bool Weights::check(const std::string& file_name, const Shape& shape) const {
  const TensorSource& source = *store_->source;
  if (source.invents_names()) return true;
  if (!source.has(file_name)) {
    store_->missing.push_back({file_name, shape});
    return false;
  }
  store_->use(file_name);
  Shape found = source.info(file_name).shape;
  if (found == shape) return true;
  store_->misshapen.push_back({file_name, shape, found});
  return false;
}

Tensor Weights::load_float(const std::string& file_name) const {
  return store_->source->load(file_name).to(at::kFloat);
}

Tensor Weights::enter(const std::string& file_name, Tensor value) const {
  if (store_->options.trainable && !is_abstract())
    value = value.to(at::kFloat).clone().set_requires_grad(true);
  store_->taken[file_name] = value;
  store_->parameters.push_back({file_name, value});
  store_->parameter_count += value.numel();
  return value;
}

Tensor Weights::take(std::string_view name, const Shape& shape) const {
  std::string file_name = full_name(name);
  if (auto found = store_->taken.find(file_name);
      found != store_->taken.end() && found->second.sizes() == at::IntArrayRef(shape))
    return found->second.scalar_type() == at::kFloat ? found->second : found->second.to(at::kFloat);
  if (auto quantised = take_quantised(name, shape)) return dequantise(*quantised);
  if (!check(file_name, shape)) return stand_in(shape);
  if (is_abstract()) return enter(file_name, stand_in(shape));
  if (store_->source->invents_names())
    return enter(file_name, store_->source->load_shaped(file_name, shape).to(at::kFloat));
  return enter(file_name, load_float(file_name));
}

Tensor Weights::take_if(std::string_view name, const Shape& shape) const {
  return has(name) ? take(name, shape) : Tensor();
}

Tensor Weights::take_matrix(std::string_view name, const Shape& shape) const {
  std::string file_name = full_name(name);
  if (auto found = store_->taken.find(file_name);
      found != store_->taken.end() && found->second.sizes() == at::IntArrayRef(shape))
    return found->second;
  bool keep_16_bit = !store_->options.trainable && store_->options.precision != Precision::f32;
  if (!keep_16_bit || is_abstract() || store_->source->invents_names() || !store_->source->has(file_name))
    return take(name, shape);
  at::ScalarType stored = store_->source->info(file_name).dtype;
  if (stored != at::kBFloat16 && stored != at::kHalf) return take(name, shape);
  if (!check(file_name, shape)) return stand_in(shape);
  return enter(file_name, store_->source->load(file_name));
}

bool Weights::reserve(std::string_view name, const Shape& shape) const {
  std::string file_name = full_name(name);
  bool is_new = !store_->used.count(file_name);
  if (is_new && store_->progress.total > 0 && store_->source->has(file_name)) {  // who reads it reports it
    store_->progress.total -= static_cast<double>(store_->source->info(file_name).file_bytes);
    store_->used.insert(file_name);
  }
  if (!check(file_name, shape)) return false;
  if (is_new) store_->parameter_count += c10::multiply_integers(shape);
  return true;
}

std::optional<GroupQuantised> Weights::take_quantised(std::string_view name, const Shape& shape) const {
  std::string file_name = full_name(name);
  std::string scale_name = file_name + "_scale";
  std::string minimum_name = file_name + "_min";
  std::string order_name = file_name + "_order";
  const TensorSource& source = *store_->source;
  if (source.invents_names() || !source.has(file_name) || !source.has(scale_name) || shape.size() != 2)
    return std::nullopt;
  TensorInfo info = source.info(file_name);
  if (at::isFloatingType(info.dtype)) {  // trained since: the groups beside it are those of before
    store_->used.insert({scale_name, minimum_name, order_name});
    return std::nullopt;
  }
  Shape scale_shape = source.info(scale_name).shape;
  bool is_int4 = info.dtype == at::kByte;
  Shape wanted{shape[0], is_int4 ? shape[1] / 2 : shape[1]};
  store_->use(file_name), store_->use(scale_name);
  bool fits = (is_int4 || info.dtype == at::kChar) && info.shape == wanted && scale_shape.size() == 2 &&
              scale_shape[0] == shape[0] && group_length(shape[1], scale_shape[1]) > 0;
  if (fits && source.has(minimum_name)) {
    store_->used.insert(minimum_name);
    fits = source.info(minimum_name).shape == scale_shape;
  }
  if (!fits) {
    store_->misshapen.push_back({file_name, wanted, info.shape});
    return std::nullopt;
  }
  GroupQuantised matrix{source.load(file_name), load_float(scale_name), {}, {}};
  if (source.has(minimum_name)) matrix.minimums = load_float(minimum_name);
  if (source.has(order_name)) matrix.input_order = load_order(order_name, shape[1]);
  store_->parameter_count += shape[0] * shape[1];
  return matrix;
}

// A permutation of the inputs, checked: it comes from a stranger's file.
Tensor Weights::load_order(const std::string& file_name, int64_t count) const {
  store_->used.insert(file_name);
  Tensor order = store_->source->load(file_name).to(at::kLong);
  if (order.sizes() != at::IntArrayRef({count}) ||
      !at::equal(std::get<0>(order.sort()), at::arange(count, at::kLong)))
    fail(ErrorKind::bad_checkpoint, "get the file again", "{}: {} is not an order of {} inputs",
         store_->source->describe(), file_name, count);
  return order;
}

Tensor Weights::take_or_make(std::string_view name, const Shape& shape,
                             const std::function<Tensor()>& initial) const {
  if (has(name) && !store_->source->invents_names()) return take(name, shape);
  return enter(full_name(name), initial());
}

const std::vector<Parameter>& Weights::parameters() const {
  return store_->parameters;
}
int64_t Weights::parameter_count() const {
  return store_->parameter_count;
}

std::vector<std::string> Weights::ignored_names() const {
  std::vector<std::string> names;
  for (const std::string& name : store_->source->names())
    if (!store_->used.count(name)) names.push_back(name);
  return names;
}

void Weights::finish(const std::string& system) const {
  const TensorSource& source = *store_->source;
  std::vector<std::string> unused;
  if (!source.invents_names()) {
    for (const std::string& name : source.names()) {
      bool ignored = store_->used.count(name) ||
                     std::any_of(store_->ignored_patterns.begin(), store_->ignored_patterns.end(),
                                 [&](const std::string& pattern) { return glob_matches(pattern, name); });
      if (!ignored) unused.push_back(name);
    }
  }
  if (unused.empty() && store_->missing.empty() && store_->misshapen.empty()) return;

  std::string report = fmt::format("{} does not fit system {}:", source.describe(), system);
  auto section = [&](const char* what, size_t count, auto&& line) {
    for (size_t idx = 0; idx < std::min(count, kReportedNames); ++idx)
      report += idx == 0 ? fmt::format("\n  {:<8}{:>4}  {}", what, count, line(idx))
                         : fmt::format("\n  {:14}{}", "", line(idx));
    if (count > kReportedNames) report += fmt::format("\n  {:14}... and {} more", "", count - kReportedNames);
  };
  section("missing", store_->missing.size(), [&](size_t idx) {
    const auto& entry = store_->missing[idx];
    std::string near = nearest_word(entry.name, unused);
    return fmt::format("{} wanted {}{}", entry.name, shape_text(entry.wanted),
                       near.empty() ? "" : ", nearest unused: " + near);
  });
  section("shape", store_->misshapen.size(), [&](size_t idx) {
    const auto& entry = store_->misshapen[idx];
    return fmt::format("{} wanted {}, the file has {}", entry.name, shape_text(entry.wanted),
                       shape_text(entry.found));
  });
  section("unused", unused.size(), [&](size_t idx) {
    return fmt::format("{} {}", unused[idx], shape_text(source.info(unused[idx]).shape));
  });
  std::string hint = store_->missing.empty() && store_->misshapen.empty()
                         ? "the checkpoint holds more than this system reads; --lenient loads it all the same"
                         : "compare config.json and the weight files with the published ones, or get the "
                           "missing files again";
  if (!store_->options.lenient) throw Error(ErrorKind::bad_checkpoint, report, hint);
  log(LogLevel::warn, "{}", report);
}

}  // namespace vlm
