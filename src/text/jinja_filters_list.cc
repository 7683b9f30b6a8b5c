// Filters over sequences and dicts.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

Value lower_case(const Value& value) {
  return value.is_string() ? Value(to_lower(value.text())) : value;
}

// What sort, unique, min, max and groupby compare: the item or an attribute of it, without case.
Value key_of(Interpreter& interpreter, const Value& item, const Value* path, bool case_sensitive) {
  Value key = path == nullptr || path->is_none() ? item : get_path(interpreter, item, *path);
  return case_sensitive ? key : lower_case(key);
}

Value filter_first(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "first", arguments, {});
  if (Generator* generator = value.as_generator()) {
    if (generator->next < generator->items.size()) return generator->items[generator->next++];
    return Value::undefined("there is no first item");
  }
  std::vector<Value> items = items_of(value, interpreter.budget());
  return items.empty() ? Value::undefined("there is no first item") : items.front();
}

Value filter_last(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "last", arguments, {});
  if (value.as_generator() != nullptr) refuse("'last' needs a list, not a generator; put |list before it");
  std::vector<Value> items = items_of(value, interpreter.budget());
  return items.empty() ? Value::undefined("there is no last item") : items.back();
}

Value filter_list(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "list", arguments, {});
  return Value::sequence(items_of(value, interpreter.budget()));
}

Value filter_items(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "items", arguments, {});
  std::vector<Value> pairs;
  if (auto dict = value.as_dict())
    for (const auto& [key, item] : dict->entries)
      pairs.push_back(Value::sequence({key, item}, Sequence::Form::tuple));
  else if (!value.is_undefined())
    refuse("'items' needs a dict, not {}", value.type_name());
  return Value::generator(std::move(pairs));
}

Value filter_join(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "join", arguments, {"d", "attribute"});
  std::vector<Value> items = items_of(value, interpreter.budget());
  if (given.has_value(1))
    for (Value& item : items) item = get_path(interpreter, item, given.at(1));
  return Value(join(interpreter, items, given.text(0)));
}

Value filter_reverse(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "reverse", arguments, {});
  std::vector<Value> items = items_of(value, interpreter.budget());
  std::reverse(items.begin(), items.end());
  if (value.is_string()) return Value(join(interpreter, items, ""));
  return value.as_generator() != nullptr ? Value::sequence(std::move(items))
                                         : Value::generator(std::move(items));
}

// --- order

void sort_by_keys(Interpreter& interpreter, std::vector<std::pair<std::vector<Value>, Value>>& keyed,
                  bool reverse) {
  auto is_less = [&](const std::vector<Value>& left, const std::vector<Value>& right) {
    for (size_t idx = 0; idx < left.size(); ++idx) {
      if (equal(left[idx], right[idx], interpreter.budget())) continue;
      return apply_comparison(interpreter, "<", left[idx], right[idx]);
    }
    return false;
  };
  // Equal items keep their order in both directions, as in Python.
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& left, const auto& right) {
    return reverse ? is_less(right.first, left.first) : is_less(left.first, right.first);
  });
}

Value filter_sort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> paths;
  if (given.has_value(2) && given.at(2).is_string()) {
    for (std::string_view rest = given.at(2).text();; rest.remove_prefix(rest.find(',') + 1)) {
      paths.emplace_back(rest.substr(0, rest.find(',')));
      if (rest.find(',') == std::string_view::npos) break;
    }
  } else {
    paths.push_back(given.has_value(2) ? given.at(2) : Value(None{}));
  }
  std::vector<std::pair<std::vector<Value>, Value>> keyed;
  for (const Value& item : items_of(value, interpreter.budget())) {
    std::vector<Value> keys;
    for (const Value& path : paths) keys.push_back(key_of(interpreter, item, &path, given.truth(1, false)));
    keyed.emplace_back(std::move(keys), item);
  }
  sort_by_keys(interpreter, keyed, given.truth(0, false));
  std::vector<Value> items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return Value::sequence(std::move(items));
}

Value filter_dictsort(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (value.as_dict() == nullptr) refuse("'dictsort' needs a dict, not {}", value.type_name());
  std::string by = given.text(1, "key");
  if (by != "key" && by != "value") refuse("'dictsort' sorts by 'key' or 'value', not by {}", quotation(by));
  std::vector<std::pair<std::vector<Value>, Value>> keyed;
  for (const auto& [key, item] : value.as_dict()->entries)
    keyed.emplace_back(
        std::vector<Value>{key_of(interpreter, by == "key" ? key : item, nullptr, given.truth(0, false))},
        Value::sequence({key, item}, Sequence::Form::tuple));
  sort_by_keys(interpreter, keyed, given.truth(2, false));
  std::vector<Value> pairs;
  for (auto& entry : keyed) pairs.push_back(std::move(entry.second));
  return Value::sequence(std::move(pairs));
}

Value filter_unique(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "unique", arguments, {"case_sensitive", "attribute"});
  std::vector<Value> seen;
  std::vector<Value> items;
  for (const Value& item : items_of(value, interpreter.budget())) {
    Value key = key_of(interpreter, item, given.has(1) ? &given.at(1) : nullptr, given.truth(0, false));
    bool is_new = std::none_of(seen.begin(), seen.end(),
                               [&](const Value& other) { return equal(key, other, interpreter.budget()); });
    if (!is_new) continue;
    seen.push_back(key);
    items.push_back(item);
  }
  return Value::generator(std::move(items));
}

template <bool Largest>
Value filter_extreme(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, Largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  std::optional<Value> best;
  Value best_key;
  for (const Value& item : items_of(value, interpreter.budget())) {
    Value key = key_of(interpreter, item, given.has(1) ? &given.at(1) : nullptr, given.truth(0, false));
    if (best.has_value() && !apply_comparison(interpreter, Largest ? ">" : "<", key, best_key)) continue;
    best = item;
    best_key = key;
  }
  return best.value_or(Value::undefined("there is no smallest or largest item of nothing"));
}

Value filter_sum(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "sum", arguments, {"attribute", "start"});
  Value total = given.has(1) ? given.at(1) : Value(int64_t{0});
  for (const Value& item : items_of(value, interpreter.budget()))
    total = apply_binary(interpreter, "+", total,
                         given.has_value(0) ? get_path(interpreter, item, given.at(0)) : item);
  return total;
}

Value filter_groupby(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  std::vector<std::pair<std::vector<Value>, Value>> keyed;
  auto plain_key = [&](const Value& item) {
    Value key = get_path(interpreter, item, given.at(0));
    return key.is_undefined() && given.has_value(1) ? given.at(1) : key;
  };
  for (const Value& item : items_of(value, interpreter.budget())) {
    Value key = plain_key(item);
    keyed.emplace_back(std::vector<Value>{given.truth(2, false) ? key : lower_case(key)}, item);
  }
  sort_by_keys(interpreter, keyed, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    size_t end = begin;
    for (; end < keyed.size() && equal(keyed[begin].first[0], keyed[end].first[0], interpreter.budget());
         ++end)
      members.push_back(keyed[end].second);
    if (end == begin) members.push_back(keyed[end++].second);  // a key that is not equal to itself
    groups.push_back(
        Value::sequence({plain_key(members[0]), Value::sequence(members)}, Sequence::Form::group));
    begin = end;
  }
  return Value::sequence(std::move(groups));
}

// --- parts

Value filter_batch(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "batch", arguments, {"linecount", "fill_with"}, 1);
  auto width = static_cast<size_t>(std::max<int64_t>(given.integer(0, 1), 1));
  std::vector<Value> rows;
  std::vector<Value> row;
  for (Value& item : items_of(value, interpreter.budget())) {
    if (row.size() == width) rows.push_back(Value::sequence(std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    if (given.has_value(1)) {
      interpreter.budget().spend(static_cast<int64_t>(width));
      row.resize(std::max(width, row.size()), given.at(1));
    }
    rows.push_back(Value::sequence(std::move(row)));
  }
  return Value::generator(std::move(rows));
}

Value filter_slice(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "slice", arguments, {"slices", "fill_with"}, 1);
  int64_t num_slices = given.integer(0, 1);
  if (num_slices < 1) refuse("'slice' needs at least 1 slice, not {}", num_slices);
  interpreter.budget().spend(num_slices);
  std::vector<Value> items = items_of(value, interpreter.budget());
  auto length = static_cast<int64_t>(items.size());
  std::vector<Value> slices;
  auto begin = items.begin();
  for (int64_t idx = 0; idx < num_slices; ++idx) {
    bool has_extra = idx < length % num_slices;
    auto end = begin + length / num_slices + has_extra;
    std::vector<Value> part(begin, end);
    if (!has_extra && given.has_value(1)) part.push_back(given.at(1));
    slices.push_back(Value::sequence(std::move(part)));
    begin = end;
  }
  return Value::generator(std::move(slices));
}

// --- functions over items

Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<int64_t>(count));
  return rest;
}

const std::string& function_name(const Value& value, const char* filter) {
  if (!value.is_string())
    refuse("'{}' needs the name of a filter or test, not {}", filter, value.type_name());
  return value.text();
}

Value filter_map(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  std::vector<Value> items;
  if (value.truth()) items = items_of(value, interpreter.budget());
  if (arguments.positional.empty()) {
    Parameters given(interpreter, "map", arguments, {"attribute", "default"}, 1);
    for (Value& item : items) {
      item = get_path(interpreter, item, given.at(0));
      if (item.is_undefined() && given.has_value(1)) item = given.at(1);
    }
  } else {
    const std::string& name = function_name(arguments.positional[0], "map");
    Arguments rest = without_first(arguments, 1);
    for (Value& item : items) item = interpreter.apply_filter(name, item, rest);
  }
  return Value::generator(std::move(items));
}

template <bool Keeps, bool ByAttribute>
Value filter_select(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const char* name =
      Keeps ? (ByAttribute ? "selectattr" : "select") : (ByAttribute ? "rejectattr" : "reject");
  constexpr size_t kTest = ByAttribute ? 1 : 0;
  if (arguments.positional.size() < kTest) refuse("'{}' needs the name of an attribute", name);
  bool has_test = arguments.positional.size() > kTest;
  Arguments rest = has_test ? without_first(arguments, kTest + 1) : Arguments{};
  std::vector<Value> kept;
  if (value.truth()) {
    for (Value& item : items_of(value, interpreter.budget())) {
      Value subject = ByAttribute ? get_path(interpreter, item, arguments.positional[0]) : item;
      bool passes =
          has_test ? interpreter.apply_test(function_name(arguments.positional[kTest], name), subject, rest)
                   : subject.truth();
      if (passes == Keeps) kept.push_back(std::move(item));
    }
  }
  return Value::generator(std::move(kept));
}

}  // namespace

std::span<const Entry<FilterFunction>> list_filters() {
  static constexpr Entry<FilterFunction> kTable[] = {
      {"first", filter_first},
      {"last", filter_last},
      {"list", filter_list},
      {"items", filter_items},
      {"join", filter_join},
      {"reverse", filter_reverse},
      {"sort", filter_sort},
      {"dictsort", filter_dictsort},
      {"unique", filter_unique},
      {"min", filter_extreme<false>},
      {"max", filter_extreme<true>},
      {"sum", filter_sum},
      {"groupby", filter_groupby},
      {"batch", filter_batch},
      {"slice", filter_slice},
      {"map", filter_map},
      {"select", filter_select<true, false>},
      {"reject", filter_select<false, false>},
      {"selectattr", filter_select<true, true>},
      {"rejectattr", filter_select<false, true>},
  };
  return kTable;
}

}  // namespace vlm::jinja
