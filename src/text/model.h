// The part of a tokenizer that turns a word into ids.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vlm {

class Json;

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual void encode(std::string_view word, std::vector<int64_t>& ids) const = 0;  // appends
  virtual std::optional<int64_t> token_to_id(std::string_view token) const = 0;
  virtual const std::string& id_to_token(int64_t id) const = 0;  // "" for an id without a token
  virtual int64_t size() const = 0;                              // largest id + 1
  virtual int64_t count() const { return size(); }               // different tokens
};

// The key "model" of tokenizer.json.
std::shared_ptr<const TokenModel> read_model(const Json& value);

// Words that were encoded before.
class WordCache {
 public:
  bool find(std::string_view word, std::vector<int64_t>& ids) const;  // appends
  void insert(std::string_view word, const int64_t* ids, size_t count) const;

 private:
  static constexpr size_t kMaxWords = 1 << 15;
  static constexpr size_t kMaxWordBytes = 128;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<int64_t>, Hash, std::equal_to<>> words_;
};

}  // namespace vlm
