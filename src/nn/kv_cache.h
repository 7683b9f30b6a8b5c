// Keys and values of one sequence, all layers; and how sequences lie in one packed run of tokens.
#pragma once

#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace vlm::nn {

class KvCache {
 public:
  // Rows already stored; the same for every layer between forward passes.
  int64_t length() const { return length_; }
  // Appends k [t, G, E] and v [t, G, Ev] behind `length()` rows of `layer`; returns everything stored so far,
  // [length + t, ...].
  std::pair<Tensor, Tensor> append(int64_t layer, const Tensor& k_TGE, const Tensor& v_TGE);
  void advance(int64_t num_tokens) { length_ += num_tokens; }  // after the last layer
  void truncate(int64_t length);                               // forgets what follows; keeps the memory
  int64_t bytes() const;
  KvCache clone() const;  // rows of its own; a plain copy would share them

 private:
  struct Layer {
    Tensor k, v;  // [capacity, G, E]; the first rows are in use
  };
  std::vector<Layer> layers_;
  int64_t length_ = 0;
};

// Tokens of several sequences, one behind the other along one axis T: no padding, and what one sequence
// computes does not depend on its neighbours.
struct Packed {
  struct Span {
    int64_t count = 0;         // tokens of this sequence in this pass
    KvCache* cache = nullptr;  // null: a pass without memory (training, encoders, scoring)
    int64_t prefix = 0;        // the first keys seen by every query (prefix-LM), in the sequence's own count
  };
  std::vector<Span> spans;
  // Where tokens stand for the rotary embedding when that is not positions(): int64 [T], or [3, T] of time,
  // row and column (M-RoPE).
  Tensor rotary_positions = {};
  // Added to the scores of sequences of one length without caches: float [B, 1, T, T].
  Tensor bias = {};

  static Packed single(int64_t count, KvCache* cache = nullptr) { return Packed{{{count, cache}}, {}}; }
  int64_t total() const;
  // Position of every token in its own sequence, int64 [T]: cache length, cache length + 1, ...
  Tensor positions() const;
  void advance() const;  // tells the caches that the pass is over
};

}  // namespace vlm::nn
